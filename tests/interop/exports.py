#!/usr/bin/env python3
"""What `gptneo-lora export` writes, in transformers, in llama.cpp and in mlx-lm.

    exports.py target/debug/gptneo-lora --model DIR --records FILE.json [--node FOLDER] [--mlx PYTHON] [--prompts 20]
    exports.py target/debug/gptneo-lora --odd --vocabulary DIR --records FILE.json [--node FOLDER]

`--model` is the folder of a GPT-Neo; `--odd` makes a random one of head size 10, three layers, window 7 and 50,259 rows
for the 50,257 tokens of `--vocabulary`. `--node` is a folder where `npm install` put node-llama-cpp (package.json beside
this file); without it llama.cpp is left out. `--mlx` is a Python that has mlx-lm (requirements-mlx.txt). A line for each check; exit status 1 if one fails. README.md says what is
checked and within which tolerance.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from checks import Checks  # before what it sets up

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
NEW_TOKENS = 200
# Float32 sums in another order, as a share of the largest logit.
LOGIT_TOLERANCE = 1e-4
# Two tokens closer than this share of the largest logit may be chosen either way; llama.cpp rounds what goes into its
# GELU to half precision.
TIE = 1e-3
# The share by which llama.cpp's perplexity may be off: it rounds activations as well where weights are rounded.
PERPLEXITY_TOLERANCE = {"f32": 1e-3, "f16": 2e-3, "q8_0": 1e-2}
# Texts that cut in places where tokenizers differ.
ODD_TEXTS = ["", " ", "  two  blanks \n\n\t tabs\r\n", "don't I'LL we've 'S", "naïve Ünïcödé 感冒 🤒👩‍⚕️", "x²½Ⅷ٣ 1234567",
             "\u00a0\u2003\u3000 wide\u200bblanks", "a\u0301 e\u0308", "\x00\x7f", "[PAD50257] [UNK] <s> ' s"]


def odd_model(vocabulary, folder):
    """Nothing of its shape is a power of two, and its embedding has two rows more than there are tokens."""
    torch.manual_seed(7)
    config = GPTNeoConfig(vocab_size=50259, hidden_size=30, num_layers=3, num_heads=3, window_size=7,
                          attention_types=[[["local", "global", "local"], 1]], max_position_embeddings=64,
                          initializer_range=0.3, bos_token_id=50256, eos_token_id=50256)
    GPTNeoForCausalLM(config).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        if (vocabulary / name).exists():
            shutil.copy(vocabulary / name, folder)


def run(program, *arguments):
    command = [str(program.resolve()), *map(str, arguments)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\nfailed with {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def logits_of(model, rows):
    with torch.no_grad():
        return model(input_ids=torch.tensor(rows)).logits


def continued(model, prompt, count):
    """The likeliest tokens, with the model's own cache."""
    model.generation_config.eos_token_id = None
    ids = torch.tensor([prompt])
    made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False,
                          pad_token_id=0)
    return made[0, len(prompt):].tolist()


def behind(model, prompt, made):
    """How far each token of `made` is behind the model's likeliest at its place, as a share of the largest logit."""
    logits = logits_of(model, [prompt + made])[0, len(prompt) - 1:-1]
    chosen = logits.gather(1, torch.tensor(made)[:, None])[:, 0]
    return ((logits.max(dim=-1).values - chosen).max() / logits.abs().max()).item()


def mean_loss(model, blocks):
    losses = [torch.nn.functional.cross_entropy(logits_of(model, [block])[0, :-1], torch.tensor(block[1:]),
                                                reduction="sum").item() for block in blocks]
    return sum(losses) / sum(len(block) - 1 for block in blocks)


def check_transformers(checks, neo, folder, prompts, expected):
    count = len(expected[0])
    gpt2, report = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    complaints = [f"{kind}: {found}" for kind, found in report.items() if found]
    checks.say("the folder loads as a GPT-2 in transformers", not complaints, "; ".join(complaints))
    gpt2 = gpt2.eval()
    positions = gpt2.config.n_positions
    worst = 0.0
    for prompt in prompts:
        row = (prompt * positions)[:positions]
        theirs, ours = logits_of(neo, [row]), logits_of(gpt2, [row])
        worst = max(worst, ((theirs - ours).abs().max() / theirs.abs().max()).item())
    checks.say(f"logits of {len(prompts)} texts of {positions} tokens", worst < LOGIT_TOLERANCE,
               f"off by at most {worst:.1e} of the largest")
    same = sum(continued(gpt2, prompt, count) == made for prompt, made in zip(prompts, expected))
    checks.say(f"the same greedy {count} tokens", same == len(prompts), f"{same} of {len(prompts)} prompts")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rendered = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    checks.say("the chat template renders the recipe's prompts", rendered == RENDERED, repr(rendered))


MESSAGES = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": 'What is "flu"?'},
            {"role": "assistant", "content": " A virus. "}, {"role": "user", "content": "And a cold?"}]
RENDERED = ('Instruction: Be brief\nQuestion: What is "flu"?\nResponse: A virus.<|endoftext|>'
            "Instruction: Be brief\nQuestion: And a cold?\nResponse:")


def check_llama_cpp(checks, neo, files, node, texts, expected_ids, prompts, expected, blocks):
    count = len(expected[0])
    positions = json.loads((files["gpt2"] / "config.json").read_text())["n_positions"]
    loss = mean_loss(neo, blocks)
    perplexity = torch.tensor(loss).exp().item()
    for kind in PERPLEXITY_TOLERANCE:
        job, result = (files["gpt2"].parent / name for name in ("job.json", "result.json"))
        # The texts are the same in each file.
        some = texts if kind == "f32" else texts[:50]
        job.write_text(json.dumps({
            "gguf": str(files[kind]), "positions": positions, "texts": some, "new_tokens": count,
            "prompts": prompts if kind == "f32" else [],
            "blocks": blocks,
        }), encoding="utf-8")
        # Modules are looked for beside the script.
        script = node / "llama_cpp.js"
        shutil.copy(HERE / "llama_cpp.js", script)
        done = subprocess.run(["node", str(script), str(job), str(result)], capture_output=True, text=True, check=False)
        if done.returncode:
            checks.say(f"llama.cpp, {kind}: loads", False, done.stderr[-2000:] + done.stdout[-2000:])
            continue
        found = json.loads(result.read_text())
        checks.say(f"llama.cpp, {kind}: loads", True, f"release {found['release']}")
        same = sum(one == other for one, other in zip(found["texts"], expected_ids))
        checks.say(f"llama.cpp, {kind}: token ids of texts", same == len(some), f"{same} of {len(some)}")
        if kind == "f32":
            equal = [one == other for one, other in zip(found["prompts"], expected)]
            worst = max(behind(neo, prompt, made) for prompt, made in zip(prompts, found["prompts"]))
            checks.say(f"llama.cpp, {kind}: greedy {count} tokens", worst < TIE,
                       f"{sum(equal)} of {len(prompts)} the same; else at most {worst:.1e} of the largest logit behind")
        after = torch.tensor(found["loss"]).exp().item()
        off = abs(after / perplexity - 1)
        checks.say(f"llama.cpp, {kind}: perplexity", off < PERPLEXITY_TOLERANCE[kind],
                   f"{perplexity:.4f} before, {after:.4f} after, off by {100 * off:.4f} %")
        template = (files["gpt2"] / "chat_template.jinja").read_text()
        checks.say(f"llama.cpp, {kind}: the folder's chat template", found["chat_template"] == template)


def check_mlx(checks, neo, folder, python, prompts, expected):
    job, result = (folder.parent / name for name in ("mlx-job.json", "mlx-result.json"))
    count = len(expected[0])
    job.write_text(json.dumps({"folder": str(folder), "prompts": prompts, "new_tokens": count, "messages": MESSAGES}),
                   encoding="utf-8")
    done = subprocess.run([python, HERE / "mlx_greedy.py", job, result], capture_output=True, text=True, check=False)
    if done.returncode:
        checks.say("mlx-lm: loads", False, done.stderr[-2000:])
        return
    found = json.loads(result.read_text())
    same = sum(one == other for one, other in zip(found["prompts"], expected))
    worst = max(behind(neo, prompt, made) for prompt, made in zip(prompts, found["prompts"]))
    checks.say(f"mlx-lm: greedy {count} tokens", worst < TIE,
               f"{same} of {len(prompts)} the same; else at most {worst:.1e} of the largest logit behind")
    checks.say("mlx-lm: the chat template renders the recipe's prompts", found["rendered"] == RENDERED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--odd", action="store_true", help="make a random model of an odd shape")
    parser.add_argument("--vocabulary", type=Path, help="the tokenizer's folder for --odd")
    parser.add_argument("--records", type=Path, required=True, help="a JSON array of instruction, input and output")
    parser.add_argument("--node", type=Path, help="a folder with node_modules/node-llama-cpp")
    parser.add_argument("--mlx", help="a Python that has mlx-lm")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of full length for the perplexity")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    checks = Checks()
    records = json.loads(args.records.read_text())
    texts = [f"Instruction: {r['instruction']}\nQuestion: {r['input']}\nResponse: {r['output']}" for r in records]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = args.model
        if args.odd:
            model = folder / "odd"
            odd_model(args.vocabulary, model)
        neo = GPTNeoForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        files = {"gpt2": folder / "gpt2"} | {kind: folder / f"{kind}.gguf" for kind in PERPLEXITY_TOLERANCE}
        run(args.program, "export", "--json", "--model", model, "--format", "gpt2", "--output", files["gpt2"])
        for kind in PERPLEXITY_TOLERANCE if args.node else ():
            report = run(args.program, "export", "--json", "--model", model, "--format", "gguf", "--gguf-type", kind,
                         "--output", files[kind])
            found = report["perplexity"]
            print(f"     our own perplexity, {kind}: {found['before']:.4f} before, {found['after']:.4f} after")
        tokenizer = Tokenizer.from_file(str(files["gpt2"] / "tokenizer.json"))
        tokenizer.no_truncation()
        texts = texts + ODD_TEXTS
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        positions = json.loads((files["gpt2"] / "config.json").read_text())["n_positions"]
        count = min(NEW_TOKENS, positions // 2 if positions < NEW_TOKENS + 2 else NEW_TOKENS)
        longest = positions - count
        prompts = [row[:longest] for row in ids if len(row) >= longest // 2][: args.prompts]
        stream = [token for row in ids for token in row]
        blocks = [stream[n * positions:(n + 1) * positions] for n in range(args.blocks)]
        expected = [continued(neo, prompt, count) for prompt in prompts]
        check_transformers(checks, neo, files["gpt2"], prompts, expected)
        if args.mlx:
            check_mlx(checks, neo, files["gpt2"], args.mlx, prompts, expected)
        if args.node:
            check_llama_cpp(checks, neo, files, args.node, texts, ids, prompts, expected, blocks)
    print(f"{checks.done} checks, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
