#!/usr/bin/env python3
"""Gives the program thousands of hostile data files, exams, sweep files, chat templates, tokenizers and exports, and
reports whatever is not a plain answer.

    scripts/hostile_inputs.py PROGRAM [--count 2000] [--seed 1] [--kind NAME] [--only ROUND --keep FOLDER]

Reported are panics, aborts and other signals, more than ten seconds or a gigabyte, exit codes but 0, 1 and 2, messages
with control characters, with names of Rust's types or with more than 80 characters of a file's own text, and refusals that
leave something behind. The exit code is 1 where there is any. Needs nothing but Python.
"""

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hostile_answer import FIXTURES, MARK, Answer
from hostile_folders import change_bytes, change_json

CORPUS = FIXTURES.parent.parent / "fuzz" / "corpus"
MODEL = str(FIXTURES / "window")
DEEP = ["[" * 100_000, '{"a":' * 50_000, "(" * 60_000, "-" * 60_000, '{"a": [' * 30_000, "not " * 15_000]
NUMBERS = ["-1", "0", "1e999", "4294967296", "18446744073709551616", "9223372036854775807", "0.5", "null", "true", "[]",
           "{}", '"\\u001b[2J"', "NaN", '"' + MARK * 300 + '"', "1" * 400]
PIECES = [b'"', b"{", b"}", b"[", b"]", b",", b"\n", b"\\", b"\0", b"\x1b[2J", b"\xff", b"\xed\xa0\x80", b"<|endoftext|>",
          b"\xe2\x80\xae", b"\r", b"\t", b"=== ", b"{{", b"%}", b"null", b"nan", b"1e999", b"-1", b"\\ud800", b"\\u0000"]


def change_text(content, choose):
    """Pieces put in, numbers replaced, lines shuffled, repeated or made long."""
    content = bytearray(content)
    for _ in range(choose.randrange(1, 4)):
        at = choose.randrange(len(content) + 1)
        match choose.randrange(7):
            case 0:
                content[at:at] = choose.choice(PIECES) * choose.choice([1, 1, 3, 1000])
            case 1:
                digits = [place for place in range(at, len(content)) if chr(content[place]).isdigit()][:1]
                for place in digits:
                    content[place:place + 1] = choose.choice(NUMBERS).encode()
            case 2:
                lines = bytes(content).splitlines(keepends=True)
                choose.shuffle(lines)
                content[:] = b"".join(lines)
            case 3:
                content[at:at] = (MARK * choose.choice([100, 50_000])).encode()
            case 4:
                content[at:at] = bytes(content) * choose.choice([1, 30])
            case 5:
                content[at:at] = choose.choice(DEEP).encode()
            case _:
                del content[at:at + choose.randrange(1, 400)]
    return bytes(content)


def change(name, content, choose):
    if name.endswith(".json") and choose.random() < 0.4:
        try:
            return change_json(content, choose) or content
        except (ValueError, IndexError, TypeError):
            pass
    return (change_bytes if choose.random() < 0.4 or b"\0" in content[:4000] else change_text)(content, choose)


def put(path, content, choose):
    """Writes a file, or once in a while something else in its place."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    match choose.randrange(40):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(choose.choice(["/dev/zero", "/dev/null", "/dev/full", "nowhere", str(path)]))
        case 2:
            with open(path, "wb") as file:
                file.truncate(choose.choice([1 << 20, 1 << 26, 1 << 33]))
        case 3:
            path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
        case _:
            path.write_bytes(content)


def of_corpus(target, choose):
    return choose.choice(sorted(path for path in (CORPUS / target).iterdir() if path.is_file())).read_bytes()


class Round:
    """One command on hostile files in a folder of its own."""

    def __init__(self, folder, choose, exports):
        self.folder, self.choose, self.exports = folder, choose, exports
        self.said = b""

    def data_file(self):
        choose = self.choose
        target = choose.choice(["data_json", "data_json", "data_csv", "data_parquet", "data_text"])
        endings = {"data_json": ["json", "jsonl", "ndjson"], "data_csv": ["csv", "tsv"], "data_parquet": ["parquet"],
                   "data_text": ["txt"]}[target]
        content = of_corpus(target, choose)
        if choose.random() < 0.9:
            content = change("data", content, choose)
        ending = choose.choice(endings)
        if choose.random() < 0.15:
            content, ending = gzip.compress(content), ending + ".gz"
            content = change_bytes(content, choose) if choose.random() < 0.5 else content
        if choose.random() < 0.05:
            ending = choose.choice(["json.zst", "csv.gz", "parquet.gz", "JSON", "", "bin", "txt"])
        path = self.folder / f"file.{ending}"
        put(path, content, choose)
        return str(path)

    def data(self):
        more = self.choose.choice([[], [], ["--bad-records", "skip"], ["--max-data-size", "3KB"], ["--question-column", "question"],
                                   ["--format", self.choose.choice(["text", "messages", "medmcqa", "alpaca"])], ["--supervise", "response"]])
        return ["prepare", "--model", MODEL, "--max-seq-length", "48", "--data", self.data_file(), *more]

    def evaluation(self):
        return ["evaluate", "--model", MODEL, "--max-seq-length", "48", "--limit", "3", "--quiet", "--data", self.data_file()]

    def exam(self):
        choose = self.choose
        plain = (FIXTURES / "exams/choices.jsonl").read_bytes()
        table = b"question,opa,opb,opc,opd,cop\nWhy?,a,b,c,d,1\nHow?,e,f,g,h,0\n"
        listed = b'question\tchoices\tanswer\nWhy?\t"[""a"",""b""]"\t1\n'
        ends = b'{"sent1": "Why", "sent2": "?", "ending0": "a", "ending1": "b", "label": 1}\n'
        letters = b'[{"question": "Why?", "options": {"A": "x", "B": "y"}, "answer_idx": "B"}]'
        name, content = choose.choice([("a.jsonl", plain), ("a.csv", table), ("a.tsv", listed), ("a.jsonl", ends),
                                       ("a.json", letters), ("a.parquet", of_corpus("data_parquet", choose)),
                                       ("a.json", plain), ("a.txt", plain), ("a.jsonl.gz", gzip.compress(plain))])
        if choose.random() < 0.95:
            content = change(name, content, choose)
        path = self.folder / name
        put(path, content, choose)
        return ["evaluate", "--model", MODEL, "--quiet", "--limit", "3", "--choices", str(path)]

    def sweep(self):
        choose = self.choose
        text = (f'[model]\npath = "{MODEL}"\n[data]\npath = "{FIXTURES / "records.json"}"\nmax_seq_length = 48\n'
                "[training]\nmax_steps = 2\nbatch_size = 2\n[sweep]\nrungs = 1\n"
                "[grid.training]\nlearning_rate = [1e-3, 3e-3]\n[grid.lora]\nr = [2]\n")
        content = text.encode()
        match choose.randrange(4):
            case 0:
                content += f"alpha = [{', '.join(str(n) for n in range(1, 2000))}]\ndropout = [{'0.1, ' * 2000}]\n".encode()
            case 1:
                lines = text.splitlines()
                at = choose.randrange(len(lines))
                value = choose.choice([*NUMBERS, "[" * 3000, "'" + MARK * 300 + "'", "inf", "[[]]", "{ a = 1 }", "[" + "1," * 50_000 + "]"])
                lines[at] = lines[at].split("=")[0] + "= " + value
                content = "\n".join(lines).encode()
            case 2:
                content += f"[{choose.choice(['grid.x', 'grid', 'sweep', MARK * 200, 'training'])}]\n{MARK * choose.choice([1, 300])} = [1]\n".encode()
            case _:
                content = change_text(content, choose)
        path = self.folder / "sweep.toml"
        put(path, content, choose)
        return ["sweep", str(path), "--output", str(self.folder / "out"), "--quiet"]

    def template(self):
        choose = self.choose
        whole = choose.choice([
            "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", "{{ messages[0].content.strip() }}",
            "{%- set n = namespace(v='a') -%}{% for i in range(30) %}{% set n.v = n.v ~ i %}{% endfor %}{{ n.v }}",
            "{{ raise_exception('" + MARK * 300 + "') }}", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
            "{% for i in range(9999) %}{{ 'x' * 99999 }}{% endfor %}", "{{ 'x' * 99999999999 }}", "{{ [1] * 999999999 }}",
            "{{ '%0999999999d' | format(1) }}", "{{ messages | tojson(indent=99999999) }}", "{{ 9 ** 99999999 }}",
            "{{ ('x' * 1000) | replace('x', 'y' * 100000) }}", "{{ 'a' | center(9999999999) }}", "{% include 'chat' %}",
            "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}", "{{ range(10) | list | batch(0) }}",
            "{{ 'é'[1:0:-1] }}{{ [1][9999999999999999999] }}", "{{ -9223372036854775808 // -1 }}", "{{ 1 % 0 }}{{ 1 // 0 }}",
            "{{ strftime_now('%' * 9999) }}", "{{ (1, 2) | join('x' * 9999999) }}", "{{ messages | sort(attribute='a' * 99) }}",
            "{{ " + choose.choice(["-", "not ", "a~", "(", "[", "a if a else ", "a.a|", "a and "]) * choose.choice([100, 5000, 30_000]) + " a }}",
            "{% if a %}" + "{% elif a %}" * choose.choice([100, 5000, 30_000]) + "{% endif %}"])
        content = whole.encode() if choose.random() < 0.5 else change_text(whole.encode(), choose)
        path = self.folder / "chat.jinja"
        put(path, content, choose)
        self.said = choose.choice([b"Why?\n", b"", b"\xff\xfe\n", b"a" * 100_000 + b"\n", b"\x1b[2J\n" * 3])
        return ["chat", "--model", MODEL, "--max-new-tokens", "2", "--chat-template", str(path)]

    def tokenizer(self):
        choose = self.choose
        folder = self.folder / "model"
        shutil.copytree(MODEL, folder)
        if choose.random() < 0.5:
            (folder / "tokenizer.json").unlink()
        parts = of_corpus("tokenizer_folder", choose).decode(errors="replace").split("=== ")
        for part in parts:
            name, _, content = part.partition("\n")
            if name.endswith((".json", ".txt")) and choose.random() < 0.3:
                (folder / name).write_text(content)
        name = choose.choice([path.name for path in folder.iterdir() if path.name != "model.safetensors"])
        put(folder / name, change(name, (folder / name).read_bytes(), choose), choose)
        self.said = b"Why?\n"
        return choose.choice([
            ["generate", "--model", str(folder), "--prompt", "What? <|endoftext|> é", "--max-new-tokens", "2", "--json"],
            ["chat", "--model", str(folder), "--max-new-tokens", "2"],
            ["prepare", "--model", str(folder), "--data", str(FIXTURES / "records.json"), "--max-seq-length", "48"],
            ["export", "--model", str(folder), "--format", "gguf", "--output", str(self.folder / "out.gguf"), "--quiet"]])

    def exported(self):
        """What `export` wrote, and other programs' files, given as a model or an adapter."""
        choose = self.choose
        if choose.random() < 0.3:
            path = self.folder / choose.choice(["model.gguf", "model", "model.safetensors"])
            content = (self.exports / "model.gguf").read_bytes()
            put(path, change_bytes(content, choose) if choose.random() < 0.7 else content, choose)
        else:
            path = self.folder / "gpt2"
            shutil.copytree(self.exports / "gpt2", path)
            name = choose.choice(sorted(file.name for file in path.iterdir() if file.is_file()))
            put(path / name, change(name, (path / name).read_bytes(), choose), choose)
        flag = choose.choice(["--model", "--model", "--adapter"])
        model = [] if flag == "--model" else ["--model", MODEL]
        return choose.choice([
            ["generate", *model, flag, str(path), "--prompt", "a", "--max-new-tokens", "1"],
            ["export", *model, flag, str(path), "--format", "gpt2", "--output", str(self.folder / "out"), "--quiet"],
            ["merge", "--model", str(path), "--adapter", str(FIXTURES / "adapter_qv"), "--output", str(self.folder / "out")]])

    def folder_of_data(self):
        folder = self.folder / "set"
        folder.mkdir()
        for name in self.choose.sample(["train.jsonl", "test.csv", "validation.json", "README.md", "a.txt", "b.parquet", ".hidden"], 3):
            target = {"jsonl": "data_json", "json": "data_json", "csv": "data_csv", "txt": "data_text", "parquet": "data_parquet"}
            content = of_corpus(target.get(name.rpartition(".")[2], "data_text"), self.choose)
            put(folder / name, change(name, content, self.choose) if self.choose.random() < 0.5 else content, self.choose)
        return ["prepare", "--model", MODEL, "--max-seq-length", "48", "--data", str(folder)]


KINDS = {"data": 5, "evaluation": 1, "exam": 3, "sweep": 2, "template": 3, "tokenizer": 4, "exported": 2, "folder_of_data": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    program = os.path.realpath(arguments.program)
    os.environ.update(HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    findings, codes, seconds, most = 0, {}, 0.0, 0
    with tempfile.TemporaryDirectory() as exports:
        for form, name in [("gguf", "model.gguf"), ("gpt2", "gpt2")]:
            subprocess.run([program, "export", "--model", MODEL, "--format", form, "--output", f"{exports}/{name}", "--quiet",
                            "--max-positions", "8"], check=True, stdout=subprocess.DEVNULL)
        for number in range(arguments.count) if arguments.only is None else [arguments.only]:
            choose = random.Random(arguments.seed * 1_000_003 + number)
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(arguments.keep or folder)
                kind = arguments.kind or choose.choices(list(KINDS), list(KINDS.values()))[0]
                one = Round(folder, choose, Path(exports))
                command = getattr(one, kind)()
                answer = Answer([program, *command], folder, one.said)
                faults = answer.faults(" ".join(command))
                left = [path.name for path in folder.iterdir() if path.name.startswith((".out", "out"))]
                if left and answer.code in (1, 2) and not (kind == "sweep" and left == ["out"]):
                    faults.append(f"leaves {left}")
            codes[answer.code] = codes.get(answer.code, 0) + 1
            seconds, most = max(seconds, answer.seconds), max(most, answer.bytes)
            if faults:
                findings += 1
                print(f"round {number}, {kind}: {'; '.join(faults)}\n  {command}\n  {answer.err[-500:]!r}", flush=True)
    print(f"{arguments.count} rounds, by exit code {codes}, {findings} findings, at most {seconds:.1f} s and {most >> 20} MB")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
