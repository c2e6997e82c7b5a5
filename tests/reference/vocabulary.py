"""The tokenizer of the fixtures: a byte-level BPE of 400 tokens learned on the corpus, `<|endoftext|>` last.

Its pieces are split the way GPT-2 splits them, so whatever reads it also reads GPT-Neo's own tokenizer.
"""

import json

from records import format_record
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
SIZE = 400

AWKWARD = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    "\t",
    "a\tb\t\tc",
    "  two before, two after  ",
    "many          spaces",
    "line one\nline two\r\nline three",
    " \n \n x",
    "don't we'll I'm they've he'd CAN'T",
    "12345 3.14 1e-9 007",
    "!?...;:--()[]{}",
    "snake_case camelCase kebab-case",
    "café naïve piñata Ångström ß",
    "cafe\u0301 with a combining accent",
    "25 °C ± 1 µm ≤ ½",
    "今日は雨が降っています。",
    "한국어 문장",
    "Привет, мир",
    "مرحبا",
    "🐝🌈 👩‍🚒 🇨🇭",
    "zero\u200bwidth no\u00a0break",
    END,
    f"before{END}after",
    f"before {END} after",
    f"{END}{END}",
    "<|endoftext",
    "<|ENDOFTEXT|>",
    "\x00\x07\x7f",
    "Response: Response:\nResponse:",
]


def learn(records):
    """Learn the merges and give the tokenizer, with the end-of-text token as the highest id (as in GPT-2)."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=SIZE - 1, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False)
    learner.train_from_iterator([format_record(r) for r in records], trainer)
    learned = json.loads(learner.to_str())["model"]
    vocab = dict(learned["vocab"])
    merges = [tuple(m) for m in learned["merges"]]
    assert len(vocab) == SIZE - 1, len(vocab)
    vocab[END] = SIZE - 1

    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(END, normalized=False, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END, clean_up_tokenization_spaces=False
    )


def save(tokenizer, folder):
    """Write tokenizer.json, tokenizer_config.json, vocab.json and merges.txt, as a Hub folder holds them."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    compact = json.dumps(vocab, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(compact + "\n", encoding="utf-8")
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def encode(tokenizer, text):
    """The ids of a text with nothing added."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]
