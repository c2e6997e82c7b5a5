#!/usr/bin/env python3
"""Throws hostile settings, flags and run folders at the program and reports whatever is not a plain answer.

    scripts/hostile-runs.py [--program target/debug/gptneo-lora] [--count 3000] [--seed 1] [--work FOLDER]

    scripts/hostile-runs.py --only NUMBER --work FOLDER     one case again, which leaves its files in FOLDER

Each case runs with limits on time (10 s), memory (4 GB of addresses; more than 1 GB in use is reported) and the size of
files. Reported are panics, aborts and other signals, hangs, too much memory, exit codes but 0, 1 and 2, messages with
control characters, with names of Rust's types, or with more than 80 characters of a file's own text, refusals that leave
something behind, and flags whose wrong value is not named with them. The exit code is 1 where there is any.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hostile_answer import FIXTURES, MARK, Answer

COUNTS = ["0", "-1", "1", "3", "1.5", "abc", "", "1000000000", "1000000001", "4294967296", "9223372036854775807",
          "9223372036854775808", "18446744073709551615", "18446744073709551616", "99999999999999999999999999",
          "1e9", "0x10", "٣", "\u001b[2J", MARK * 200, "NaN", " 1", "1_000", "+5"]
NUMBERS = ["0", "-0.0", "-1", "1", "0.5", "1e-300", "1e300", "1e308", "nan", "inf", "-inf", "abc", "", "1e999",
           MARK * 200, "\u001b[31m", "0.999999999999", "1.0000001"]
TEXTS = ["", "/", ".", "..", "/dev/null", "/dev/full", "/proc/self/mem", "no/such/path", "embedded:small-medical",
         "embedded:" + MARK * 100, MARK * 3000, "\u001b[2J", "a\nb", "🜚", "~", "-", "--", "{}", "q_proj", "q_proj,,v_proj",
         "h.99.attn.attention.q_proj", "all-linear", "auto", "cuda", "wgpu", "ndarray", "f16", "500MB", "1B", "0GB",
         "999999999999999999999GB", "{instruction}", "{output}", "{input}{output}"]

COUNT_FLAGS = ["--lora-r", "--epochs", "--max-steps", "--batch-size", "--grad-accumulation-steps", "--max-seq-length",
               "--eval-steps", "--checkpoint-steps", "--early-stopping-patience", "--warmup-steps", "--samples", "--seed",
               "--device", "--devices", "--validation-limit"]
NUMBER_FLAGS = ["--lora-alpha", "--lora-dropout", "--learning-rate", "--weight-decay", "--max-grad-norm",
                "--validation-fraction"]
TEXT_FLAGS = ["--target-modules", "--backend", "--precision", "--dtype", "--max-shard-size", "--schedule", "--supervise",
              "--overlong", "--tuning", "--prompt-template", "--question-column", "--model", "--data", "--adapter",
              "--config", "--output"]
# A message about one of these names the path.
PATHS = ["--model", "--data", "--adapter", "--config", "--output"]
KEYS = {
    "training": ["learning_rate", "schedule", "warmup_steps", "weight_decay", "beta1", "beta2", "epsilon", "max_grad_norm",
                 "epochs", "max_steps", "batch_size", "grad_accumulation_steps", "shuffle", "eval_steps",
                 "checkpoint_steps", "early_stopping_patience", "seed"],
    "lora": ["r", "alpha", "dropout", "target_modules", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"],
    "data": ["path", "max_seq_length", "validation_fraction", "validation_limit", "supervise", "overlong",
             "prompt_template", "question_column"],
    "answers": ["questions", "max_new_tokens", "samples"],
    "run": ["output", "backend", "device", "devices", "precision", "gradient_checkpointing", "base_weights",
            "dtype", "max_shard_size", "tensorboard"],
    "model": ["path", "adapter", "tuning"],
}

def value(choice):
    """A value of a settings file, of any kind."""
    kind = choice.randrange(8)
    if kind == 0:
        return choice.choice([text for text in COUNTS if re.fullmatch(r"-?\d+", text)] or ["1"])
    if kind == 1:
        return choice.choice(["nan", "inf", "-inf", "1e308", "0.1", "-0.5", "1e-320", "1e400"])
    if kind == 2:
        return '"' + choice.choice(["x", MARK * 400, "\\u001b[2J", "\\u0000", "q_proj", "é" * 300, "auto", "f32"]) + '"'
    if kind == 3:
        return choice.choice(["true", "false", "[]", "{}", "[1, 2]", '["q_proj"]', '["a", 1]', "{ a = 1 }"])
    if kind == 4:
        return "[" * choice.choice([3, 100, 20000])
    if kind == 5:
        return choice.choice(["1979-05-27", "07:32:00", "'''", '"""', "#", "=", "", "\u001b", "\u0007\u0007"])
    if kind == 6:
        return "{ " + ", ".join(f'"{choice.choice(["q_proj", "h.0.mlp.c_fc", MARK * 50])}" = {n}'
                                for n in [choice.choice(["0", "4", "1000000000", "9223372036854775807", "-3"])]) + " }"
    return "[" + ", ".join(["1"] * choice.choice([1, 10, 5000])) + "]"


def settings(choice):
    lines = []
    for section in choice.sample(list(KEYS), choice.randrange(1, 4)):
        lines.append(f"[{section}]" if choice.random() < 0.95 else f"[[{section}]]")
        for key in choice.sample(KEYS[section], min(len(KEYS[section]), choice.randrange(1, 3))):
            key = key if choice.random() < 0.93 else choice.choice([MARK * 300, "\u001b", '"a b"', key + "s", ""])
            lines.append(f"{key} = {value(choice)}")
    text = "\n".join(lines).encode()
    return damaged(choice, text) if choice.random() < 0.2 else text


def damaged(choice, data):
    """The same bytes with a fault."""
    data = bytearray(data)
    kind = choice.randrange(7)
    at = choice.randrange(len(data)) if data else 0
    if kind == 0 and data:
        data[at] ^= 1 << choice.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = bytes(choice.randrange(256) for _ in range(choice.choice([1, 8, 300])))
    elif kind == 3:
        number = re.search(rb"-?\d+(\.\d+)?", bytes(data[at:]))
        new = choice.choice([b"-1", b"1e999", b"18446744073709551616", b"null", b'"' + (MARK * 200).encode() + b'"',
                             b"9223372036854775807", b"[]", b"{}", b"NaN", b"true"])
        if number:
            data[at + number.start():at + number.end()] = new
    elif kind == 4:
        data[:] = choice.choice([b"", b"\0" * 1000, b"{}", b"[]", b"null", b"[" * 50000, b'{"a":' * 20000,
                                 b"\xff\xfe\xfd", b"\x1b[2J" * 50, (MARK * 40000).encode()])
    elif kind == 5:
        data[at:at] = data[:]
    else:
        lines = bytes(data).splitlines(keepends=True)
        choice.shuffle(lines)
        data[:] = b"".join(lines)
    return bytes(data)


class Campaign:
    def __init__(self, program, work, seed):
        self.program, self.work, self.seed = program, work, seed
        self.found, self.codes, self.largest, self.slowest = [], {}, 0, 0.0
        self.run = work / "whole"
        base = ["train", "--quiet", "--model", FIXTURES / "window", "--data", FIXTURES / "records.json", "--max-seq-length",
                "48", "--lora-r", "2", "--batch-size", "4", "--backend", "flex"]
        self.base = [str(argument) for argument in base]
        done = subprocess.run([program, *self.base, "--output", self.run, "--max-steps", "4", "--checkpoint-steps", "2",
                               "--eval-steps", "2"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (self.run / "held_out_losses.csv").write_text(
            "Record,Response Tokens,Base Loss,Tuned Loss\n1,5,3.5,2.5\n2,7,4.5,3.25\n3,2,1.5,1.5\n")

    def flags(self):
        """A training of one step with wrong flags."""
        choice, arguments = self.choice, [*self.base, "--output", str(self.work / "out"), "--max-steps", "1"]
        named = []
        for _ in range(choice.choice([1, 1, 1, 2])):
            flag, values = choice.choice([(f, COUNTS) for f in COUNT_FLAGS] + [(f, NUMBERS) for f in NUMBER_FLAGS]
                                         + [(f, TEXTS) for f in TEXT_FLAGS])
            if flag in arguments:
                at = arguments.index(flag)
                del arguments[at:at + 2]
            named.append(flag)
            arguments += [flag, choice.choice(values)]
        return arguments, named

    def other_flags(self):
        choice = self.choice
        window, out = str(FIXTURES / "window"), str(self.work / "out")
        command = choice.randrange(5)
        if command == 0:
            flag = choice.choice(["--batch-size", "--length", "--steps", "--lora-r", "--seed"])
            fixed = {"--batch-size": "1", "--length": "8", "--steps": "1"}
            fixed[flag] = choice.choice(COUNTS)
            return ["bench", "train", "--model", window, *sum(map(list, fixed.items()), [])], [flag]
        if command == 1:
            flag = choice.choice(["--batch-size", "--prompt-length", "--max-new-tokens", "--seed"])
            fixed = {"--batch-size": "1", "--prompt-length": "4", "--max-new-tokens": "2"}
            fixed[flag] = choice.choice(COUNTS)
            return ["bench", "generate", "--model", window, *sum(map(list, fixed.items()), [])], [flag]
        if command == 2:
            return ["init", "--config", window + "/config.json", "--train-tokenizer", str(FIXTURES / "records.json"),
                    "--output", out, "--vocab-size", choice.choice(COUNTS)], ["--vocab-size"]
        if command == 3:
            return ["merge", "--model", window, "--adapter", choice.choice([str(self.run / "adapter"), *TEXTS]), "--output",
                    choice.choice([out, *TEXTS])], []
        flag = choice.choice(["--batches", "--batch-size", "--epochs", "--max-seq-length"])
        return ["prepare", "--model", window, "--data", str(FIXTURES / "records.json"), "--max-seq-length", "48", "--memory",
                *([] if flag == "--max-seq-length" else [flag, choice.choice(COUNTS)])], [flag]

    def settings_file(self):
        path = self.work / "settings.toml"
        path.write_bytes(settings(self.choice))
        if self.choice.random() < 0.5:
            return ["prepare", "--config", str(path), "--model", str(FIXTURES / "window"), "--data",
                    str(FIXTURES / "records.json"), "--max-seq-length", "48"], []
        return [*self.base, "--config", str(path), "--output", str(self.work / "out"), "--max-steps", "1"], []

    def run_folder(self):
        choice, copy = self.choice, self.work / "copy"
        shutil.copytree(self.run, copy)
        if choice.random() < 0.5:
            # A run that has steps to go.
            shutil.rmtree(copy / "checkpoints/step-00000004", ignore_errors=True)
        files = [path for path in copy.rglob("*") if path.is_file() and "report" not in path.name]
        for path in choice.sample(files, choice.choice([1, 1, 2])):
            match choice.randrange(12):
                case 0:
                    path.unlink()
                case 1:
                    path.unlink()
                    path.mkdir()
                case 2:
                    path.unlink()
                    path.symlink_to("/dev/null" if choice.random() < 0.5 else "nowhere")
                case _:
                    path.write_bytes(damaged(choice, path.read_bytes()))
        if choice.random() < 0.2:
            stray = copy / "checkpoints" / choice.choice(["step-00000009", "step-x", ".step-00000004.partial", "notes"])
            stray.mkdir(exist_ok=True)
        if choice.random() < 0.6:
            return ["train", "--quiet", "--resume", "--output", str(copy)], []
        if choice.random() < 0.7:
            return ["compare", str(self.run), str(copy)], []
        return ["evaluate", "--model", str(FIXTURES / "window"), "--adapter", str(copy / "adapter"), "--data",
                str(FIXTURES / "records.json"), "--max-seq-length", "48", "--limit", "4"], []

    def case(self, number, clear):
        self.choice = random.Random(self.seed * 1_000_003 + number)
        kinds = [self.flags, self.settings_file, self.run_folder, self.other_flags]
        arguments, named = self.choice.choices(kinds, [4, 4, 4, 2])[0]()
        arguments = [argument for argument in arguments if "\0" not in argument]
        answer = Answer([self.program, *arguments], self.work / "here")
        self.largest, self.slowest = max(self.largest, answer.bytes), max(self.slowest, answer.seconds)
        code, text = answer.code, answer.err
        self.codes[code] = self.codes.get(code, 0) + 1
        faults = answer.faults(" ".join(arguments))
        values = [flag for flag in named if flag not in PATHS]
        if code == 2 and values and not any(flag in text for flag in values) and "--" not in text:
            faults.append("names no flag")
        left = sorted(path.name for path in self.work.iterdir())
        if code == 2 and any(name in ("out", ".out.partial") for name in left):
            faults.append("leaves something behind")
        for name in ["out", ".out.partial", "copy", "settings.toml"] if clear else []:
            path = self.work / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path in (self.work / "here").iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if faults:
            self.found.append((number, faults))
            shown = [argument if len(argument) < 120 else argument[:120] + "…" for argument in arguments]
            print(f"case {number}: {'; '.join(faults)}\n  {shown}\n  {text[-600:]!r}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/gptneo-lora")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--work")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    work = Path(tempfile.mkdtemp(dir=args.work))
    (work / "here").mkdir()
    campaign = Campaign(os.path.realpath(args.program), work, args.seed)
    for number in range(args.count) if args.only is None else [args.only]:
        campaign.case(number, clear=args.only is None)
    if args.only is None:
        shutil.rmtree(work)
    codes = ", ".join(f"{count} ended with {code}" for code, count in sorted(campaign.codes.items()))
    print(f"{args.count} cases: {codes}; the slowest took {campaign.slowest:.1f} s, the largest "
          f"{campaign.largest >> 20} MB; {len(campaign.found)} with a fault")
    sys.exit(1 if campaign.found else 0)


if __name__ == "__main__":
    main()
