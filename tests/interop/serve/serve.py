#!/usr/bin/env python3
"""Ask `gptneo-lora serve` what the world's clients ask, and more of them at once than it has places for.

    serve.py target/debug/gptneo-lora [--only WORD] [--node FOLDER]
    serve.py target/release/gptneo-lora --only speed --model DIR

WORD: openai, node, template, lm_eval, schemathesis, load, kills, restarts or speed. FOLDER: where `npm install` was run on
package.json; without it the Node client is left out. `speed` wants a release build, a quiet machine and --model, a model
with room for 1,000 tokens. A line for each check; exit status 1 if one fails. README.md says
what is checked. Everything stays on 127.0.0.1.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent.parent / "fixtures"
sys.path[:0] = [str(HERE), str(HERE.parent)]

from checks import Checks  # noqa: E402  (the paths above must come first)
from server import Server  # noqa: E402

KEY = "a-key-for-this-script"


def node(checks, server, folder):
    if folder is None:
        print("left out: the Node client, which needs --node FOLDER")
        return
    script = shutil.copy(HERE / "node_client.mjs", folder)
    done = subprocess.run(["node", script, server.url, KEY], capture_output=True, text=True, timeout=120)
    if done.returncode:
        checks.say("node", False, done.stderr[-500:])
    for line in done.stdout.splitlines():
        checks.say(*json.loads(line))


def template(checks, program, folder):
    """What transformers renders of a saved chat template is what the server asks."""
    from transformers import AutoTokenizer

    run = folder / "run"
    data = FIXTURES / "records.json"
    for number, text in enumerate(["{instruction}\\nQ: {input}\\nA: {output}", "It's '\\{input}' {input} {output}"]):
        run = folder / f"run{number}"
        command = [program, "--quiet", "run", "--model", FIXTURES / "window", "--data", data, "--output", run, "--max-steps", "2",
                   "--max-seq-length", "64", "--questions", "0", "--prompt-template", text]
        subprocess.run(command, check=True, capture_output=True)
        tokenizer = AutoTokenizer.from_pretrained(run / "merged")
        with Server(program, ["--run", run]) as server:
            for question in ["What is rest?", "it's {{ 1 }}\n %} naïve  "]:
                messages = [{"role": "user", "content": question}]
                ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                asked = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
                chat = server.post("/v1/chat/completions", {"model": run.name, "messages": messages, **asked})
                plain = server.post("/v1/completions", {"model": run.name, "prompt": ids, **asked})
                same = chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"].lstrip()
                counted = chat["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
                checks.say(f"transformers renders the template alike: {text!r}", same and counted, repr(ids[:60]))


def schemathesis(checks, server):
    command = [Path(sys.executable).parent / "schemathesis", "run", f"{server.url}/openapi.json", "--max-examples", "60",
               "--seed", "7", "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
               "response_schema_conformance,response_headers_conformance,negative_data_rejection,unsupported_method,"
               "allow_header_conformance", "--phases", "examples,coverage,fuzzing", "--continue-on-failure",
               "--request-timeout", "60", "--warnings", "off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    tail = done.stdout.strip().splitlines()[-3:]
    checks.say("schemathesis", done.returncode == 0, " ".join(tail))
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-1000:])


def slow_model(program, folder):
    """Random weights with room for long answers."""
    config = json.loads((FIXTURES / "window" / "config.json").read_text())
    config.update(max_position_embeddings=1024, hidden_size=64)
    (folder / "config.json").write_text(json.dumps(config))
    command = [program, "init", "--config", folder / "config.json", "--tokenizer", FIXTURES / "window", "--output", folder / "slow"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "slow"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--node", type=Path)
    parser.add_argument("--model", type=Path, help="what `speed` measures")
    arguments = parser.parse_args()
    if arguments.only == "speed" and not arguments.model:
        parser.error("speed needs --model DIR")
    program, checks = arguments.program.resolve(), Checks()
    wanted = lambda name: arguments.only in ("", name)  # noqa: E731
    base, adapter = FIXTURES / "window", FIXTURES / "adapter_qv"
    both = ["--model", base, "--adapter", f"tuned={adapter}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wanted("openai") or wanted("node"):
            (folder / "key").write_text(KEY)
            with Server(program, [*both, "--api-key-file", folder / "key"], key=KEY) as server:
                if wanted("openai"):
                    import openai_client

                    openai_client.run(checks, server, KEY)
                if wanted("node"):
                    node(checks, server, arguments.node)
        if wanted("template"):
            template(checks, program, folder)
        if wanted("lm_eval"):
            import lm_eval_check

            records = json.loads((FIXTURES / "records.json").read_text())
            with Server(program, ["--model", base]) as server:
                lm_eval_check.run(checks, server, base, 128, folder, records)
        if wanted("schemathesis"):
            with Server(program, both) as server:
                schemathesis(checks, server)
        if wanted("load") or wanted("kills") or wanted("restarts"):
            import load

            slow = slow_model(program, folder)
            if wanted("load"):
                load.run_load(checks, program, both)
            if wanted("kills"):
                load.run_kills(checks, program, ["--model", slow])
            if wanted("restarts"):
                load.run_restarts(checks, program, ["--model", slow])
        if arguments.only == "speed":
            import speed

            speed.run_speed(checks, program, arguments.model)
    print(f"{checks.done - checks.failed} of {checks.done} checks hold")
    sys.exit(bool(checks.failed))


if __name__ == "__main__":
    main()
