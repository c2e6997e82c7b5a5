"""lm-evaluation-harness over `local-completions` against its own `hf` backend on the same folder."""

import glob
import json
import subprocess
import sys
from pathlib import Path

# Log-likelihoods of float32 models: sums in another order.
TOLERANCE = 1e-4

TASK = """task: served_{name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {output_type}
doc_to_text: "{text}"
doc_to_target: {target}
{more}
metric_list: [{{metric: {metric}}}]
"""


def short(server, records, positions):
    """Records whose every pair of question and answer fits: a longer text each backend cuts in another place."""
    count = lambda text: server.post("/tokenize", {"prompt": text})["count"]  # noqa: E731
    half = positions // 2 - 12
    return [r for r in records if count(r["input"]) <= half and count(r["output"]) <= half]


def write_tasks(folder, records):
    """A choice among answers, and the likelihood of whole texts."""
    rows = []
    for number, record in enumerate(records):
        others = [records[(number + step) % len(records)]["output"] for step in (0, 1, 2)]
        rows.append({"question": record["input"], "choices": others, "gold": 0, "text": record["output"]})
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    choice = dict(
        name="choice", file=file, output_type="multiple_choice", text="Question: {{question}}\\nResponse:", target="gold",
        more='doc_to_choice: "{{choices}}"', metric="acc",
    )
    rolling = dict(
        name="rolling", file=file, output_type="loglikelihood_rolling", text="", target='"{{text}}"', more="",
        metric="word_perplexity",
    )
    for task in (choice, rolling):
        (folder / f"served_{task['name']}.yaml").write_text(TASK.format(**task))
    return ["served_choice", "served_rolling"]


def evaluate(folder, name, tasks, model, arguments, batch):
    """The samples' responses, task by task."""
    output = folder / name
    command = [
        sys.executable, "-m", "lm_eval", "--model", model, "--model_args", arguments, "--tasks", ",".join(tasks),
        "--include_path", str(folder), "--batch_size", str(batch), "--output_path", str(output), "--log_samples",
    ]
    if model == "hf":
        command += ["--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found = {}
    for task in tasks:
        (file,) = glob.glob(f"{output}/**/samples_{task}_*.jsonl", recursive=True)
        lines = [json.loads(line) for line in Path(file).read_text().splitlines()]
        found[task] = [line["resps"] for line in sorted(lines, key=lambda line: line["doc_id"])]
    return found


def flat(responses):
    """Every log-likelihood, and every verdict on whether it was the likeliest."""
    values, verdicts = [], []
    for response in responses:
        for (first, *_rest) in response:
            if isinstance(first, list):
                values.append(float(first[0]))
                verdicts.append(str(first[1]))
            else:
                values.append(float(first))
    return values, verdicts


def run(checks, server, model, positions, folder, records):
    records = short(server, records, positions)[:24]
    tasks = write_tasks(folder, records)
    expected = evaluate(
        folder, "hf", tasks, "hf", f"pretrained={model},dtype=float32,max_length={positions}", batch=4
    )
    url = f"{server.url}/v1/completions"
    common = f"model={server.models[0]},base_url={url},max_length={positions},num_concurrent=1"
    for name, more in [
        ("tokens_of_huggingface", f",tokenizer={model},tokenizer_backend=huggingface,tokenized_requests=True"),
        ("tokens_of_the_server", ",tokenizer_backend=remote,tokenized_requests=True"),
    ]:
        found = evaluate(folder, name, tasks, "local-completions", common + more, batch=5)
        for task in tasks:
            values, verdicts = flat(found[task])
            wanted, wanted_verdicts = flat(expected[task])
            worst = max(abs(a - b) / abs(b) for a, b in zip(values, wanted, strict=True))
            same = verdicts == wanted_verdicts
            checks.say(
                f"lm_eval, {name}: {task}", worst < TOLERANCE and same,
                f"{len(values)} log-likelihoods, the largest relative difference {worst:.1e}",
            )
