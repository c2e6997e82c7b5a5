#!/usr/bin/env python3
"""The greedy tokens of an exported folder in mlx-lm, for exports.py, which runs it with the Python that has mlx-lm.

    mlx_greedy.py JOB.json RESULT.json

The job names the folder, the prompts in token ids and how many tokens to add; the result has the tokens, and what the
tokenizer makes of the messages.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate_step

job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
model, tokenizer = load(job["folder"])
continued = [
    [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=job["new_tokens"])]
    for prompt in job["prompts"]
]
rendered = tokenizer.apply_chat_template(job["messages"], tokenize=False, add_generation_prompt=True)
Path(sys.argv[2]).write_text(json.dumps({"prompts": continued, "rendered": rendered}), encoding="utf-8")
