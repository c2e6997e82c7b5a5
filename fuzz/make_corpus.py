"""Makes fuzz/corpus: small files of each kind, whole ones and the mistakes that were met. `python fuzz/make_corpus.py`,
with the environment of tests/reference/requirements.txt."""

import json
import struct
from pathlib import Path

import torch

CORPUS = Path(__file__).resolve().parent / "corpus"
FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
LETTERS = {chr(33 + i): i for i in range(94)}


def write(target, name, content):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def pickles():
    def save(name, value, **how):
        path = CORPUS / "pickle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(value, path, **how)

    numbers = torch.arange(24.0)
    save("transposed.bin", {"a": numbers.view(4, 6).t(), "b": numbers[3:7], "c": numbers.half()[::2]})
    save("old-form.bin", {"a": numbers.view(4, 6).t(), "b": numbers[3:7]}, _use_new_zipfile_serialization=False)
    save("other-values.bin", {"a": torch.nn.Parameter(numbers), "step": 3, "rate": 0.1, "on": True, "names": ["x"]})
    save("nested.bin", {"state_dict": {"a": numbers}, "epoch": 2})
    save("newest.bin", {"a": numbers.bfloat16(), "b": torch.ones(3, dtype=torch.uint16)}, pickle_protocol=4)


def configs():
    window = json.loads((FIXTURES / "window" / "config.json").read_text())
    write("model_config", "window.json", json.dumps(window))
    other = {"num_hidden_layers": 2, "num_attention_heads": 2, "eos_token_id": [1, 2], "activation_function": "gelu"}
    kept = {key: value for key, value in window.items() if key not in ("num_layers", "num_heads", "attention_layers")}
    write("model_config", "other-spelling.json", json.dumps(kept | other | {"attention_types": [[["global"], 2]]}))
    write("model_config", "least.json", '{"model_type": "gpt_neo"}')
    write("model_config", "huge.json", '{"model_type": "gpt_neo", "num_layers": 1000000000, "hidden_size": 99999999}')
    adapter = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}
    write("adapter_config", "plain.json", json.dumps(adapter))
    write("adapter_config", "expression.json", json.dumps(adapter | {"target_modules": r".*\.(q|v)_proj"}))
    patterns = {"rank_pattern": {"h.0.*q_proj": 1, "v_proj": 3}, "alpha_pattern": {"^q_proj": 2.5}}
    write("adapter_config", "patterns.json", json.dumps(adapter | patterns | {"layers_to_transform": [0, 1]}))
    excluded = {"exclude_modules": r".*\.1\..*", "layers_pattern": "h", "use_rslora": True}
    write("adapter_config", "excluded.json", json.dumps(adapter | excluded))


def weights():
    shapes = {"wte.weight": [8, 4], "wpe.weight": [8, 4], "ln_f.weight": [4], "ln_f.bias": [4]}
    header, place = {}, 0
    for name, shape in shapes.items():
        size = 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    write("weights_header", "some.safetensors", struct.pack("<Q", len(text)) + text + bytes(place))
    write("weights_header", "lies.safetensors", struct.pack("<Q", 1 << 40) + b"{}")
    names = {"transformer.wte.weight": "model-00001-of-00002.safetensors", "lm_head.weight": "b.safetensors"}
    write("weights_index", "two.json", json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    write("weights_index", "elsewhere.json", json.dumps({"weight_map": {"a": "../../b", "c": "/etc/passwd"}}))


def tokenizers():
    def folder(name, files):
        write("tokenizer_folder", name, "".join(f"=== {file}\n{content}\n" for file, content in files.items()))

    vocab = json.dumps(LETTERS | {"Ġ": 94, "Th": 95, "<|endoftext|>": 96}, ensure_ascii=False)
    classic = {"vocab.json": vocab, "merges.txt": "#version: 0.2\nT h"}
    folder("classic", classic)
    decoder = {"97": {"content": "<|end|>", "special": True, "lstrip": True}}
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>", "added_tokens_decoder": decoder}
    folder("decoder", classic | {"tokenizer_config.json": json.dumps(config | {"add_prefix_space": True})})
    special = {"eos_token": {"content": "<|endoftext|>"}, "additional_special_tokens": ["<|pad|>"]}
    added = {"added_tokens.json": '{"<|pad|>": 97}', "special_tokens_map.json": json.dumps(special)}
    folder("added", classic | added)
    whole = {
        "version": "1.0",
        "added_tokens": [{"id": 96, "content": "<|endoftext|>", "special": True}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": json.loads(vocab), "merges": [["T", "h"]]},
    }
    for token in whole["added_tokens"]:
        token.update(single_word=False, lstrip=False, rstrip=False, normalized=False)
    folder("whole", {"tokenizer.json": json.dumps(whole, ensure_ascii=False)})


def exams():
    one = {"question": "Which organ pumps blood?", "choices": ["lung", "heart"], "answer": 1}
    write("exam", "plain.jsonl", json.dumps(one) + "\n" + json.dumps(one | {"answer": "0"}) + "\n")
    write("exam", "letters.json", json.dumps([{"question": "a", "options": {"A": "x", "B": "y"}, "answer_idx": "B"}]))
    write("exam", "medmcqa.csv", "question,opa,opb,opc,opd,cop\nWhy?,a,b,c,d,1\n")
    write("exam", "listed.tsv", 'question\tchoices\tanswer\nWhy?\t"[""a"",""b""]"\t1\n')
    write("exam", "endings.jsonl", json.dumps({"sent1": "a", "sent2": "b", "ending0": "x", "ending1": "y", "label": 1}))


def gguf():
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    values = [text("general.architecture") + struct.pack("<I", 8) + text("gpt2"),
              text("general.alignment") + struct.pack("<II", 4, 32),
              text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
              text("on") + struct.pack("<IB", 7, 1), text("rate") + struct.pack("<If", 6, 0.5)]
    tensors = [text("wte") + struct.pack("<IQQIQ", 2, 4, 3, 0, 0), text("half") + struct.pack("<IQIQ", 1, 8, 1, 64),
               text("quarter") + struct.pack("<IQQIQ", 2, 32, 1, 8, 96)]
    front = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values + tensors)
    front += bytes(-len(front) % 32)
    write("gguf", "whole.gguf", front + bytes(64 + 32 + 64))
    write("gguf", "empty.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(8))
    write("gguf", "lies.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60))


def sweeps():
    whole = '[model]\npath = "a"\n[data]\npath = "b"\n[sweep]\nrungs = 2\n[grid.training]\nlearning_rate = [1e-3, 3e-3]\n'
    write("sweep_file", "whole.toml", whole + '[grid.lora]\nr = [2, 4]\ntarget_modules = [["q_proj"], ["v_proj"]]\n')
    many = ", ".join(str(number) for number in range(1, 200))
    write("sweep_file", "many.toml", whole + f"batch_size = [{many}]\nepochs = [{many}]\nbeta1 = [0.1, 0.2]\n")
    write("sweep_file", "wrong.toml", whole + "factor = 1\n[grid.data]\nsupervise = 3\n")


pickles()
configs()
exams()
gguf()
sweeps()
weights()
tokenizers()
