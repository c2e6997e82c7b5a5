#!/usr/bin/env python3
"""Run gptneo-lora on small models and hold what it reads and writes against transformers and PEFT.

    interop.py target/debug/gptneo-lora [--keep DIR] [--only WORD]

A line for each check; exit status 1 if one fails. README.md says what is checked and within which tolerance.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from checks import Checks  # before what it sets up

import torch

import adapters
import models
import scoring
import vocabulary
from check_outputs import listening, load_adapter, load_model
from files import write_json
from peft import IA3Config, LoraConfig, get_peft_model
from records import format_record, records
from transformers.utils import logging

PROMPT_TOKENS = 18
# Mean losses over some thousand tokens, both computed in float32.
LOSS_TOLERANCE = 1e-4
# Two tokens closer than this may be chosen either way.
TIE = 1e-3
# Differences of logits, as a share of the largest one. In float32, sums in another order. In half precision a merged
# weight that lies between two numbers of the type may be rounded to the other one: some such steps, 2^-11 and 2^-8.
LOGIT_TOLERANCE = {"f32": 1e-4, "f16": 1e-3, "bf16": 8e-3}
TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# PEFT's adapters that must be refused: the word that the message must hold, and the fields.
REFUSED = {
    "bias": ("bias", dict(bias="all")),
    "lora_bias": ("lora_bias", dict(lora_bias=True, target_modules=["out_proj"])),
    "modules_to_save": ("modules_to_save", dict(modules_to_save=["ln_f"])),
    "token_indices": ("trainable_token_indices", dict(trainable_token_indices=[1, 2])),
    "parameters": ("target_parameters", dict(target_parameters=["mlp.c_fc.weight"])),
    "activated": ("alora_invocation_tokens", dict(alora_invocation_tokens=[5, 6])),
    "pissa": ("init_lora_weights", dict(init_lora_weights="pissa")),
    "olora": ("init_lora_weights", dict(init_lora_weights="olora")),
    "embedding": ("wte", dict(target_modules=["q_proj", "wte"])),
    "expression": ("target_modules", dict(target_modules=r".*\.(q|v)_proj")),
    "rank_expression": ("rank_pattern", dict(rank_pattern={r"h\.[01]\.attn\.attention\.q_proj": 2})),
    "excluded_expression": ("exclude_modules", dict(exclude_modules=r".*\.0\..*")),
}


class Program:
    """The program and the small model it works on."""

    def __init__(self, path, folder):
        self.path = Path(path).resolve()
        self.folder = folder
        self.records = records()
        self.data = folder / "records.json"
        write_json(self.data, self.records, indent=1)
        self.tokenizer = vocabulary.learn(self.records)
        self.base = folder / "base"
        models.random_model("window").save_pretrained(self.base)
        vocabulary.save(self.tokenizer, self.base)
        self.prompt = self.tokenizer.decode(self.encode(format_record(self.records[2]))[:PROMPT_TOKENS])
        self.ids = self.encode(self.prompt)

    def encode(self, text):
        return vocabulary.encode(self.tokenizer, text)

    def run(self, *arguments):
        command = [str(self.path), *map(str, arguments)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def good(self, *arguments):
        """The standard output of a command that must succeed."""
        result = self.run(*arguments)
        if result.returncode:
            raise SystemExit(f"{' '.join(map(str, arguments))}\nfailed with {result.returncode}: {result.stderr}")
        return result.stdout

    def computes(self, checks, what, model, *source):
        """Continuation and losses of the program, for the model or adapter of `source`, against those of `model`."""
        said = json.loads(self.good("generate", *source, "--prompt", self.prompt, "--ignore-eos", "--json",
                                    "--max-new-tokens", models.CONTINUATION))
        checks.say(f"{what}: continuation", *same_continuation(model, self.ids, said["new_ids"]))
        said = json.loads(self.good("evaluate", *source, "--data", self.data, "--limit", scoring.LIMIT,
                                    "--max-seq-length", scoring.MAX_LENGTH, "--json"))
        expected = scoring.evaluate(model, self.tokenizer, self.records)
        # The window is shorter than the padding, which transformers then treats in a way of its own; so `notebook`,
        # which scores padding, is left out (tests/reference/README.md).
        for protocol in ("text", "response"):
            off = abs(said["protocols"][protocol]["loss"] - expected[protocol]["loss"])
            checks.say(f"{what}: loss of {protocol}", off < LOSS_TOLERANCE, f"off by {off:.1e}")


def same_continuation(model, prompt, found):
    """Whether each token of `found` is the likeliest after those before it, or as good as that."""
    row = torch.tensor([prompt + found])
    with torch.no_grad():
        logits = model(input_ids=row).logits[0, len(prompt) - 1 : -1]
    behind = (logits.max(dim=-1).values - logits.gather(1, torch.tensor(found)[:, None])[:, 0]).max().item()
    return len(found) == models.CONTINUATION and behind < TIE, f"{len(found)} tokens, at most {behind:.1e} behind the best"


def off_by(found, expected):
    """The largest difference of logits, as a share of the largest."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def check_ours(checks, program):
    """Adapters that the program trains, in PEFT; and what it merges them into, in transformers."""
    patterns = program.folder / "patterns.toml"
    patterns.write_text(
        '[lora]\nr = 3\nalpha = 5.0\nuse_rslora = true\ntarget_modules = ["q_proj", "out_proj", "mlp.c_fc", "c_proj"]\n'
        '[lora.rank_pattern]\nq_proj = 2\n"h.1.attn.attention.q_proj" = 1\n[lora.alpha_pattern]\nc_fc = 9.5\n',
        encoding="utf-8",
    )
    for name, flags in (("plain", ["--lora-r", 4]), ("patterned", ["--config", patterns])):
        run = program.folder / name
        program.good("train", "--model", program.base, "--data", program.data, "--output", run, "--max-steps", 8,
                     "--learning-rate", 1e-2, "--max-seq-length", 64, *flags)
        complaints = []
        with listening(complaints):
            model = load_adapter(load_model(program.base, complaints), run / "adapter", complaints)
        checks.say(f"our {name} adapter loads in PEFT", not complaints, "; ".join(complaints))
        program.computes(checks, f"our {name} adapter", model, "--model", program.base, "--adapter", run / "adapter")
        check_merged(checks, program, name, model, run / "adapter")


def check_merged(checks, program, name, model, adapter):
    """`merge` in every format against PEFT's own merge, rounded to the same type."""
    merged = model.merge_and_unload()
    exact = {key: value.clone() for key, value in merged.state_dict().items()}
    for dtype, limit in (("f32", None), ("f16", None), ("bf16", None), ("f32", "30KB"), ("bf16", "1MB")):
        what = f"our {name} merge, {dtype}{', in shards of ' + limit if limit else ''}"
        output = program.folder / f"{name}-{dtype}-{limit}"
        flags = ["--max-shard-size", limit] if limit else []
        program.good("merge", "--model", program.base, "--adapter", adapter, "--output", output, "--dtype", dtype, *flags)
        files = sorted(file.name for file in output.glob("*.safetensors*"))
        several = len(files) > 1
        checks.say(f"{what}: files", several == (limit == "30KB"), f"{len(files)}")
        complaints = []
        with listening(complaints):
            found = load_model(output, complaints)
        checks.say(f"{what}: loads in transformers", not complaints, "; ".join(complaints))
        merged.load_state_dict({key: value.to(TORCH[dtype]).float() for key, value in exact.items()})
        off = off_by(models.logits_of(found, program.ids), models.logits_of(merged, program.ids))
        checks.say(f"{what}: logits", off < LOGIT_TOLERANCE[dtype], f"off by {off:.1e} of the largest")
        program.computes(checks, what, found, "--model", output)


def check_theirs(checks, program):
    """Adapters that PEFT wrote, here; trained on, in PEFT again."""
    plain = {"default_targets": (41, torch.float32, dict(r=2))}
    for name, (seed, dtype, fields) in (adapters.VARIANTS | plain).items():
        folder = program.folder / "peft" / name
        adapters.save_variant(program.base, folder, seed, dtype, fields)
        model = adapters.attach(program.base, folder)
        program.computes(checks, f"PEFT's {name}", model, "--model", program.base, "--adapter", folder)
        run = program.folder / f"{name}-trained-on"
        program.good("train", "--model", program.base, "--adapter", folder, "--data", program.data, "--output", run,
                     "--max-steps", 2, "--learning-rate", 1e-3, "--max-seq-length", 64)
        complaints = []
        with listening(complaints):
            model = load_adapter(load_model(program.base, complaints), run / "adapter", complaints)
        checks.say(f"PEFT's {name}, trained on here, loads in PEFT", not complaints, "; ".join(complaints))
        source = ["--model", program.base, "--adapter", run / "adapter"]
        program.computes(checks, f"PEFT's {name}, trained on here", model, *source)


def check_refused(checks, program):
    """Adapters that the program cannot compute."""
    def refused(name, word, folder):
        result = program.run("generate", "--model", program.base, "--adapter", folder, "--prompt", "a")
        named = result.returncode in (1, 2) and word in result.stderr and "panicked" not in result.stderr
        checks.say(f"PEFT's {name} is refused", named, result.stderr.strip().splitlines()[-1] if result.stderr else "it ran")

    for name, (word, fields) in REFUSED.items():
        folder = program.folder / "refused" / name
        fields = {"target_modules": ["q_proj", "v_proj"]} | fields
        model = get_peft_model(adapters.load(program.base), LoraConfig(r=2, task_type="CAUSAL_LM", **fields))
        model.save_pretrained(folder, save_embedding_layers=False)
        refused(name, word, folder)
    config = IA3Config(target_modules=["k_proj", "c_proj"], feedforward_modules=["c_proj"], task_type="CAUSAL_LM")
    folder = program.folder / "refused" / "ia3"
    get_peft_model(adapters.load(program.base), config).save_pretrained(folder)
    refused("ia3", "peft_type", folder)


PARTS = {"ours": check_ours, "theirs": check_theirs, "refused": check_refused}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the program's file")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it")
    parser.add_argument("--only", choices=PARTS, help="one part of the checks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    # What matters of these is caught where files are loaded.
    warnings.simplefilter("ignore")
    checks = Checks()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=args.keep is None)
        program = Program(args.program, folder)
        for name, part in PARTS.items():
            if args.only in (None, name):
                part(checks, program)
    print(f"{checks.done} checks, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
