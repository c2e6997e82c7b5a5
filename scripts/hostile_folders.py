#!/usr/bin/env python3
"""Give the program thousands of damaged model folders and adapters, and report what it must never do.

    hostile_folders.py PROGRAM --count 2000 [--seed 1]

Each round takes a model and an adapter of tests/fixtures, changes one file of them in a few places, and asks for two
tokens. Reported are: a panic or an abort, more than ten seconds, more than a gigabyte of memory, a message of several
hundred characters or with control characters in it, and another answer from a pickle, whose checksums must tell that it
was changed. Needs nothing but Python; stays out of CI, because each round starts the program.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
# Model, adapter, and the files that are changed.
SUBJECTS = [
    ("window", None, ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]),
    ("pickle", None, ["pytorch_model.bin", "config.json"]),
    ("sharded", None, ["model.safetensors.index.json"]),
    ("window", "adapter_qv", ["adapter_config.json", "adapter_model.safetensors"]),
]
NUMBERS = ["-1", "0", "1e999", "4294967296", "18446744073709551616", "0.5", "null", "true", "[]", "{}", '"\\u001b[2J"']
SECONDS, BYTES, LONGEST = 10, 1 << 30, 4000


def change_json(content, choose):
    """Another value somewhere in the tree."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    places = []

    def walk(node):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(child, (dict, list)):
                walk(child)

    walk(value)
    node, key = choose.choice(places)
    action = choose.randrange(4)
    if action == 0:
        del node[key]
    elif action == 1:
        node[key] = "\x1b[31m" * choose.choice([1, 1000])
    elif action == 2:
        node[key] = [node[key]] * choose.choice([0, 2, 50])
    else:
        text = json.dumps(value)
        old = json.dumps(node[key])
        return text.replace(old, choose.choice(NUMBERS), 1).encode()
    return json.dumps(value).encode()


def change_bytes(content, choose):
    content = bytearray(content)
    for _ in range(choose.randrange(1, 4)):
        place = choose.randrange(max(1, len(content)))
        action = choose.randrange(5)
        if action == 0 and content:
            content[min(place, len(content) - 1)] ^= 1 << choose.randrange(8)
        elif action == 1:
            del content[place:]
        elif action == 2:
            del content[place : place + choose.randrange(1, 200)]
        elif action == 3:
            content[place:place] = choose.randbytes(choose.randrange(1, 40))
        else:
            content[place : place + 8] = choose.choice([b"\xff" * 8, b"\0" * 8, (1 << 40).to_bytes(8, "little")])
    return bytes(content)


def ask(program, model, adapter):
    command = [program, "generate", "--model", model, "--prompt", "What?", "--max-new-tokens", "2", "--ignore-eos", "--json"]
    command += ["--adapter", adapter] if adapter else []
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            process.wait(timeout=SECONDS * 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        seconds = time.monotonic() - begun
        out.seek(0), err.seek(0)
        return process.returncode, out.read(), err.read(), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    findings = refused = 0
    whole = {}
    for round in range(arguments.count):
        choose = random.Random(arguments.seed * 1_000_003 + round)
        model, adapter, names = choose.choice(SUBJECTS)
        name = choose.choice(names)
        with tempfile.TemporaryDirectory() as folder:
            for part in filter(None, (model, adapter)):
                shutil.copytree(FIXTURES / part, Path(folder) / part)
            paths = [str(Path(folder) / part) if part else None for part in (model, adapter)]
            if (model, adapter) not in whole:
                whole[model, adapter] = json.loads(ask(arguments.program, *paths)[1])["new_ids"]
            file = next(path / name for path in (Path(folder) / part for part in (adapter, model) if part) if (path / name).exists())
            content = file.read_bytes()
            changed = change_json(content, choose) if name.endswith(".json") and choose.random() < 0.7 else None
            file.write_bytes(changed if changed is not None else change_bytes(content, choose))
            code, out, err, seconds = ask(arguments.program, *paths)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            text = err.decode(errors="replace")
            wrong = []
            if code not in (0, 1, 2) or "panicked" in text:
                wrong.append(f"exit code {code}")
            if seconds > SECONDS:
                wrong.append(f"{seconds:.0f} s")
            if memory > BYTES:
                wrong.append(f"{memory >> 20} MB (the most so far)")
            if len(text) > LONGEST or any(ord(letter) < 32 and letter != "\n" for letter in text):
                wrong.append("the message")
            if code == 0 and name.endswith(".bin") and json.loads(out)["new_ids"] != whole[model, adapter]:
                wrong.append("another answer")
            refused += code != 0
            if wrong:
                findings += 1
                print(f"round {round}, {model}/{name}: {', '.join(wrong)}\n  {text[:600]!r}", flush=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"{arguments.count} rounds, {refused} refused, {findings} findings, at most {memory} MB")
    raise SystemExit(findings > 0)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
