"""Runs the program on the driver that only counts, and says what a training step and a decoded token ask of a GPU.

Called by `cuda-count.sh`. A step's count is the difference between runs of more and of fewer steps, so that loading and
compiling do not count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = Path(__file__).with_suffix(".json").with_name("cuda-count.json")
ARCHITECTURES = {"sm_75": "75", "sm_90a": "90"}
COUNTED = ["launches", "host_waits", "idle_waits", "copies_to_device", "bytes_to_device", "copies_to_host", "bytes_to_host"]
# What may not grow. Seconds depend on the machine; the most bytes in use on the GPU's memory, which is the driver's to say.
LIMITED = ["launches", "host_waits", "idle_waits", "bytes_to_host", "most_bytes_in_use"]


class Counter:
    """The program with the driver in place of NVIDIA's."""

    def __init__(self, args, folder, architecture):
        self.args, self.folder, self.architecture = args, Path(folder), architecture
        library = self.folder / "driver"
        library.mkdir(exist_ok=True)
        link = library / "libcuda.so.1"
        if not link.exists():
            link.symlink_to(Path(args.driver).resolve())
        cache = Path(args.kernels) if args.kernels else self.folder / f"cache-{architecture}"
        paths = [str(library), str(Path(args.cuda) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self.environment = os.environ | {
            "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
            "CUDA_PATH": str(args.cuda),
            "XDG_CACHE_HOME": str(cache),
            "COUNTING_DRIVER_ARCHITECTURE": architecture,
            "COUNTING_DRIVER_OUTPUT": str(self.folder / "counts.json"),
            "GPTNEO_LORA_UNCHECKED": "1",
        }
        self.failures = []

    def call(self, arguments):
        command = [self.args.program, *map(str, arguments), "--backend", "cuda"]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, stdin=subprocess.DEVNULL)

    def fails(self, *arguments):
        """What a run says that is to fail; none where it does not."""
        done = self.call(arguments)
        return done.stderr if done.returncode in (1, 2) else None

    def run(self, *arguments):
        """The counts of one run, and what it printed. A run that fails is noted."""
        counts = self.folder / "counts.json"
        counts.unlink(missing_ok=True)
        done = self.call(arguments)
        if done.returncode != 0:
            said = done.stderr.strip()
            self.failures.append(said)
            print(f"{self.architecture}: {' '.join(map(str, arguments))}\n{said[-4000:]}", file=sys.stderr)
        found = json.loads(counts.read_text()) if counts.is_file() else {}
        return found, done.stdout

    def kernels(self):
        """Distinct kernels that were compiled: the entries of the cache."""
        tables = Path(self.environment["XDG_CACHE_HOME"]).rglob("toc*")
        return sum(
            path.read_bytes().count(b"\n") for path in tables
            if path.suffix != ".lock" and f"sm_{self.architecture}-" in str(path)
        )


def difference(more, fewer, of):
    return {name: (more.get(name, 0) - fewer.get(name, 0)) / of for name in COUNTED}


def whole(counts):
    return {name: int(value) if float(value).is_integer() else round(value, 2) for name, value in counts.items()}


def train_step(counter, config, precision, shape, few=2, more=4):
    """The counts of a step of `shape`, texts and tokens of each, and the most memory that was taken from the driver."""
    texts, tokens = shape.split("x")
    shape = ["bench", "train", "--config", config, "--batch-size", texts, "--length", tokens, "--precision", precision, "--json"]
    first, _ = counter.run(*shape, "--steps", few)
    second, printed = counter.run(*shape, "--steps", more)
    counts = whole(difference(second, first, more - few))
    counts["most_bytes_in_use"] = second.get("most_bytes_in_use")
    if printed:
        counts["host_seconds"] = round(json.loads(printed)["seconds_per_step"], 4)
    return counts


def decode_token(counter, config, few=2, more=6, rounds=3):
    shape = ["bench", "generate", "--config", config, "--json"]
    first, fewer = counter.run(*shape, "--max-new-tokens", few)
    second, printed = counter.run(*shape, "--max-new-tokens", more)
    counts = whole(difference(second, first, rounds * (more - few)))
    if fewer and printed:
        seconds = [min(json.loads(text)["seconds"]) for text in (fewer, printed)]
        counts["host_seconds"] = round((seconds[1] - seconds[0]) / (more - few), 5)
    return counts


def evaluation(counter, folder):
    """Training with an evaluation in it, on the tests' small model; it is not counted, only compiled."""
    fixtures = ROOT / "tests/fixtures"
    counter.run("train", "--model", fixtures / "window", "--data", fixtures / "records.json", "--max-seq-length", 64,
                "--max-steps", 2, "--eval-steps", 1, "--samples", 0, "--precision", "f16",
                "--output", Path(folder) / f"run-{counter.architecture}")


def refuses_bf16(counter, config):
    """Whether a GPU without products in bf16 is known before its kernels fail to compile."""
    said = counter.fails("bench", "train", "--config", config, "--length", 16, "--steps", 1, "--precision", "bf16")
    return said is not None and "no products in bf16" in said


def measure(args):
    report = {"architectures": {}}
    with tempfile.TemporaryDirectory() as folder:
        config = args.config or Path(folder) / "config.json"
        if not args.config:
            config.write_text(json.dumps({
                "model_type": "gpt_neo", "hidden_size": 768, "num_layers": 12, "num_heads": 12, "vocab_size": 50257,
                "attention_types": [[["global", "local"], 6]], "window_size": 256, "max_position_embeddings": 2048,
            }))
        for name, architecture in ARCHITECTURES.items():
            counter = Counter(args, folder, architecture)
            # The counts are those of the last architecture; the kernels differ, what is asked for does not.
            report["train_step"] = train_step(counter, config, "f16", args.shape)
            most = {"f16": report["train_step"]["most_bytes_in_use"]}
            report["decode_token"] = decode_token(counter, config)
            for precision in args.also.split(",") if args.also else []:
                if precision != "bf16" or architecture == "90":
                    report[f"train_step_{precision}"] = train_step(counter, config, precision, args.shape)
                    most[precision] = report[f"train_step_{precision}"]["most_bytes_in_use"]
            evaluation(counter, folder)
            if architecture == "75":
                report["bf16_refused_on_sm_75"] = refuses_bf16(counter, config)
            failed = sum("Compilation Error" in said for said in counter.failures)
            report["architectures"][name] = {
                "kernels": counter.kernels(), "failed": failed, "runs_failed": len(counter.failures),
                "most_bytes_in_use": most,
            }
    return report


def problems(report, recorded):
    """Where a report is worse than the recorded one."""
    found = [
        f"{name}: {counts['runs_failed']} runs failed, {counts['failed']} of them because a kernel does not compile"
        for name, counts in report["architectures"].items() if counts["runs_failed"]
    ]
    found += [
        f"{name}: no compiled kernel is kept in the user's cache folder"
        for name, counts in report["architectures"].items() if not counts["kernels"]
    ]
    if not report["bf16_refused_on_sm_75"]:
        found.append("sm_75: training in bf16, in which it has no products, is not refused before it begins")
    for part, limits in recorded.items():
        for name in LIMITED:
            value = report.get(part, {}).get(name, float("inf"))
            if name in limits and value > limits[name]:
                found.append(f"{part}: {name} is {value}, recorded is {limits[name]}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--program", "--cuda", "--driver"):
        parser.add_argument(name, required=True)
    parser.add_argument("--config", help="a config.json; without it the shape of GPT-Neo-125M")
    parser.add_argument("--kernels", help="a folder to keep the compiled kernels in, as a user's cache folder")
    parser.add_argument("--also", default="", help="train in these precisions too: f32,bf16")
    parser.add_argument("--shape", default="8x256", help="the texts of a training step, and the tokens of each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    report = measure(args)
    if args.json:
        print(json.dumps(report))
    else:
        for part, counts in report.items():
            print(part, counts)
    if args.check:
        found = problems(report, json.loads(RECORDED.read_text()))
        for problem in found:
            print(problem, file=sys.stderr)
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
