"""The stages of a measurement on a GPU, in order; `run.sh` calls it.

Each stage runs under a limit of its own and all of them under one together; what a stage found is written before the
next one starts, so that a machine taken away keeps what was measured.
"""

import argparse
import csv
import json
import re
import shutil
import sys
import tarfile
import time
from functools import cached_property
from pathlib import Path

from commands import MemoryWatch, Runner, json_lines
from table import write_table

NO_TORCH = "PyTorch with CUDA and PEFT is not there"


class Kit:
    """What the stages share: where things are, what is asked for, and what was found."""

    def __init__(self, args):
        self.args, self.quick = args, args.quick
        self.kit, self.work, self.results = Path(args.kit), Path(args.work), Path(args.results)
        self.results.mkdir(parents=True, exist_ok=True)
        self.program = self.work / "gptneo-lora"
        self.deadline = time.monotonic() + 60 * args.minutes
        self.found = {"backend": args.backend, "quick": args.quick, "stages": {}}
        self.memory = MemoryWatch()
        self.runner = Runner(self.results, self.work, self.deadline)
        self.model, self.adapter = self.work / "model", self.work / "adapter"
        # Quick runs are for machines without a GPU: the tests' own small model, whose adapter PEFT made.
        if self.quick:
            self.model, self.adapter = self.kit / "fixtures/window", self.kit / "fixtures/adapter_qv"
        self.config = self.kit / "config.json" if not self.quick else self.model / "config.json"
        self.has_torch = self.runner.quiet([args.python, "-c", "import torch, peft; assert torch.cuda.is_available()"])

    def stage(self, name, seconds, work):
        """Runs a stage if it was asked for and there is time; its failure is a finding."""
        only = self.args.only.split(",") if self.args.only else None
        if only and name not in only:
            return
        left = self.deadline - time.monotonic()
        start = time.monotonic()
        print(f"== {name} ({left:.0f} s left)", flush=True)
        if left < 8:
            self.found["stages"][name] = {"skipped": "no time left"}
        else:
            # Software that plays a GPU is slow.
            seconds *= 4 if self.quick else 1
            self.runner.limit = time.monotonic() + min(seconds, left)
            stage = self.found["stages"].setdefault(name, {})
            try:
                work(stage)
            except Exception as error:  # whatever it is, the stages after it are worth having
                stage["error"] = f"{type(error).__name__}: {error}"
                print(stage["error"], flush=True)
            stage["seconds"] = round(time.monotonic() - start, 1)
        self.save()

    def save(self):
        (self.results / "results.json").write_text(json.dumps(self.found, indent=1) + "\n")
        write_table(self.found, self.results / "table.md")

    @cached_property
    def precisions(self):
        """Those that the program says the backend's first device trains in; f32 alone where it has no device."""
        if self.quick:
            return ["f32"]
        backends = self.runner.run([self.program, "devices", "--json"]).json()["backends"]
        devices = [device for each in backends if each["backend"] == self.args.backend for device in each["devices"]]
        has = ["f32", *(name for name in ("f16", "bf16") if devices and devices[0][name])]
        asked = [name for name in has if name in self.args.precisions]
        if not asked:
            raise ValueError(f"the device has {', '.join(has)} and none of {', '.join(self.args.precisions)}")
        return asked

    def some(self, *names):
        """Those of these precisions that are measured; TF32 is PyTorch's name for f32 made faster."""
        return [name for name in names if ("f32" if name == "tf32" else name) in self.precisions]

    def ours(self, *arguments, **options):
        command = [self.program, *arguments, "--backend", self.args.backend]
        return self.runner.run(command, **options)

    def gpu_py(self, *arguments, **options):
        return self.runner.run([self.args.python, self.kit / "reference/gpu.py", *arguments], **options)

    # The stages.

    def environment(self, stage):
        smi = "--query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader"
        stage["gpu"] = self.runner.output(["nvidia-smi", *smi.split()])
        stage["nvcc"] = self.runner.output(["nvcc", "--version"]).split("\n")[-1]
        stage["torch"] = self.runner.output([self.args.python, "-c", "import torch; print(torch.__version__)"])
        stage["cuda_path"] = self.runner.environment.get("CUDA_PATH")
        stage["processors"] = self.runner.output(["nproc"])
        stage["devices"] = self.runner.output([self.program, "devices"])
        print(stage["gpu"], stage["devices"], sep="\n", flush=True)

    def check(self, stage):
        """Cold with no kernel kept, then warm; both from this machine's compiler."""
        empty = {"XDG_CACHE_HOME": str(self.work / "cold"), "CUDA_CACHE_PATH": str(self.work / "cold-driver")}
        for name in ("cold", "warm"):
            done = self.runner.run([self.program, "devices", "--check"], environment=empty)
            stage[f"{name}_seconds"], stage[f"{name}_ok"] = round(done.seconds, 2), done.ok
            stage[f"{name}_said"] = done.text[-800:]
        # What was compiled serves the stages after this one, like what the kit may have brought.
        shutil.copytree(self.work / "cold", self.runner.cache, dirs_exist_ok=True)
        kernels = list((self.work / "cold").rglob("toc*"))
        stage["kernels"] = sum(path.read_bytes().count(b"\n") for path in kernels if path.is_file())

    def tests(self, stage):
        environment = {
            "GPTNEO_LORA_TEST_BACKEND": self.args.backend,
            "GPTNEO_LORA_TEST_PROGRAM": str(self.program),
            "GPTNEO_LORA_TEST_FIXTURES": str(self.kit / "fixtures"),
        }
        threads = "2" if self.quick else "6"
        done = self.runner.run(
            [self.work / "end_to_end", "gpu", f"--test-threads={threads}"], environment=environment
        )
        lines = [line for line in done.text.splitlines() if line.startswith("test ")]
        stage["tests"] = dict(line[5:].rsplit(" ... ", 1) for line in lines if " ... " in line)
        stage["passed"] = done.ok and bool(stage["tests"])
        if not done.ok:
            stage["said"] = done.text[-3000:]

    def prepare(self, stage):
        """A model of the real shape, its adapter, and the curves that PyTorch makes of them."""
        if not self.quick:
            init = ["init", "--config", self.config, "--tokenizer", self.kit / "vocabulary", "--output", self.model]
            stage["init"] = self.runner.run([self.program, *init, "--backend", "flex"]).ok
            if not self.has_torch:
                stage["skipped"] = f"the adapter: {NO_TORCH}"
                return
            self.gpu_py("adapter", "--model", self.model, "--out", self.adapter)
        stage["adapter"] = self.adapter.is_dir()

    def curves(self, stage):
        """The same adapter on the same records in the same order, on both sides."""
        steps = 4 if self.quick else 20
        length = 64 if self.quick else 256
        records = self.kit / ("fixtures/records.json" if self.quick else "records.json")
        adapter = ["--adapter", self.adapter] if self.adapter.is_dir() else []
        common = ["--data", records, "--model", self.model, *adapter]
        shape = ["--batch-size", "8", "--max-seq-length", str(length), "--max-steps", str(steps)]
        fixed = ["--lora-dropout", "0", "--no-shuffle", "--validation-fraction", "0", "--learning-rate", "2e-4"]
        for precision in self.precisions:
            output = self.work / f"curve-{precision}"
            done = self.ours(
                "train", *common, *shape, *fixed, "--precision", precision, "--output", output, "--samples", "0",
            )
            rows = json_lines(output / "metrics.jsonl")
            rows = [row for row in rows if row.get("split") == "train"]
            stage[f"ours_{precision}"] = {
                "ok": done.ok,
                "losses": [row["loss"] for row in rows],
                "grad_norms": [row.get("grad_norm") for row in rows],
                "seconds": [row.get("seconds") for row in rows],
                "said": "" if done.ok else done.text[-1500:],
            }
            self.save()
        if self.has_torch and not self.quick:
            done = self.gpu_py(
                "curves", *common, "--steps", str(steps), "--length", str(length),
                "--precisions", ",".join(self.some("f32", "tf32", "bf16", "f16")),
            )
            for row in done.json_lines():
                stage[f"torch_{row['precision']}"] = row

    def bench_ours(self, stage):
        steps = "2" if self.quick else "12"
        shapes = ["2x32"] if self.quick else self.args.train
        for precision in self.precisions:
            for shape in shapes:
                batch, length = shape.split("x")
                self.one(
                    stage, f"train {shape} {precision}",
                    "bench", "train", "--config", self.config, "--batch-size", batch, "--length", length,
                    "--steps", steps, "--precision", precision, "--json",
                )
        for weights in self.some("f32", "f16"):
            for batch in self.args.decode[:1] if self.quick else self.args.decode:
                self.one(
                    stage, f"decode {batch} {weights}",
                    "bench", "generate", "--model", self.model, "--batch-size", str(batch), "--weights", weights,
                    "--max-new-tokens", "8" if self.quick else "128", "--json",
                )

    def one(self, stage, name, *arguments):
        done = self.ours(*arguments)
        report = done.json() if done.ok else {"error": done.text[-1200:]}
        report.pop("losses", None)
        report["gpu_memory_mb"] = self.memory.most_since(done.started)
        report["process_seconds"] = round(done.seconds, 1)
        stage[name] = report
        said = report.get("seconds_per_step") or report.get("tokens_per_second") or report.get("error")
        print(f"   {name}: {said}", flush=True)
        self.save()

    def bench_torch(self, stage):
        if not self.has_torch or self.quick:
            stage["skipped"] = "the run is quick" if self.quick else NO_TORCH
            return
        done = self.gpu_py(
            "speed", "--config", self.config, "--precisions", ",".join(self.some("f16", "f32", "tf32", "bf16")),
            "--train", ",".join(self.args.train), "--decode", ",".join(self.args.decode),
        )
        stage["ok"] = done.ok
        stage["rows"] = done.json_lines()

    def profile(self, stage):
        """Device time by kernel of the last step, as cubecl logs it; it waits after each, so that launches do not
        overlap."""
        folder = self.work / "profile"
        folder.mkdir(exist_ok=True)
        log = folder / "kernels.log"
        settings = f'[profiling.logger]\nlevel = "basic"\nfile = "{log}"\nappend = true\n'
        (folder / "cubecl.toml").write_text(settings)
        shape = ["--batch-size", "2", "--length", "32"] if self.quick else []
        for precision in self.some("f16", "f32"):
            log.unlink(missing_ok=True)
            steps = 3
            done = self.ours(
                "bench", "train", "--config", self.config, *shape, "--steps", str(steps), "--precision", precision,
                "--json", folder=folder, environment={"GPTNEO_LORA_UNCHECKED": "1"},
            )
            stage[precision] = by_kernel(log, self.launches()) | {"ok": done.ok}
            self.save()

    def launches(self):
        """Those of a training step in f16, as recorded."""
        return json.loads((self.kit / "cuda-count.json").read_text())["train_step"]["launches"]

    def ncu(self, stage):
        """The same by kernel and grid without waits in between, where NVIDIA's profiler is; how many launches come before
        the last step's, the log of the stage before tells."""
        ncu = shutil.which("ncu")
        if self.args.backend != "cuda" or not ncu:
            stage["skipped"] = "there is no ncu, or the backend is not CUDA"
            return
        command = [ncu, "--csv", "--clock-control", "none", "--metrics", "gpu__time_duration.sum"]
        all_launches = self.found["stages"].get("profile", {}).get("f16", {}).get("all_launches", 0)
        skipped = all_launches - self.launches()
        if skipped <= 0:
            stage["skipped"] = "the stage before found no launches"
            return
        some = ["--launch-skip", str(skipped), "--launch-count", str(self.launches())]
        bench = [self.program, "bench", "train", "--config", self.config, "--steps", "3", "--precision", "f16"]
        libraries = self.runner.libraries()
        environment = {"GPTNEO_LORA_UNCHECKED": "1", "LD_LIBRARY_PATH": libraries}
        done = self.runner.run([*command, *some, *bench, "--backend", "cuda", "--json"], environment=environment)
        stage.update(by_kernel_of_ncu(done.out), ok=done.ok)

    def beside(self, stage):
        """Another build of the program, such as the one before a change, on what matters most; its kernels are its own."""
        program = self.work / "beside"
        if not program.is_file():
            stage["skipped"] = "the kit has no second program"
            return
        number = [*self.some("f16"), "f32"][0]
        runs = [
            (f"train 8x256 {number}", "train", "--config", self.config, "--steps", "30", "--precision", number),
            (f"decode 1 {number}", "generate", "--model", self.model, "--weights", number),
            (f"decode 8 {number}", "generate", "--model", self.model, "--weights", number, "--batch-size", "8"),
        ]
        # An older build may take another's kernels for its own.
        own = {"XDG_CACHE_HOME": str(self.work / "cache-beside")}
        for name, *arguments in runs:
            command = [program, "bench", *arguments, "--json", "--backend", self.args.backend]
            done = self.runner.run(command, folder=self.work, environment=own)
            report = done.json() if done.ok else {"error": done.text[-1200:]}
            stage[name] = report | {"process_seconds": round(done.seconds, 1)}
            self.save()

    def products(self, stage):
        """Each product of training by each kernel that could make it: what the program's choice is made from."""
        environment = {"GPTNEO_LORA_TEST_BACKEND": self.args.backend}
        if self.quick:
            environment["GPTNEO_LORA_TEST_SIZES"] = "small"
        test = "gpu::ways::every_way_to_make_a_product"
        done = self.runner.run(
            [self.work / "end_to_end", "--ignored", "--nocapture", "--exact", test], environment=environment
        )
        stage["rows"], stage["ok"] = done.json_lines(), done.ok

    def keep_kernels(self, stage):
        """What was compiled here, for the next run on such a machine."""
        cache, cold = self.runner.cache, self.work / "cold"
        # The program's own folder is the one that it made for the check; what a kit brought may have others'.
        own = [path.relative_to(cold) for path in cold.glob("gptneo-lora/kernels/*/*")] or [Path("gptneo-lora")]
        if (cache / own[0]).is_dir() and self.args.backend == "cuda":
            with tarfile.open(self.results / "kernels.tar.xz", "w:xz", preset=3) as archive:
                for folder in own:
                    archive.add(cache / folder, str(folder))
            stage["bytes"] = (self.results / "kernels.tar.xz").stat().st_size


def ranked(totals):
    """Totals of microseconds and launches by kernel, the longest first."""
    kernels = sorted(totals.items(), key=lambda item: -item[1][0])
    return {
        "launches": sum(count for _, (_, count) in kernels),
        "microseconds": round(sum(time for _, (time, _) in kernels), 1),
        "kernels": [[name, round(time, 1), count] for name, (time, count) in kernels[:40]],
    }


def by_kernel_of_ncu(text):
    """The same from NVIDIA's profiler, whose table begins after its own words."""
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    totals = {}
    for row in csv.DictReader(lines[start:]):
        factor = {"nsecond": 1e-3, "ns": 1e-3, "usecond": 1.0, "us": 1.0, "msecond": 1e3, "ms": 1e3}.get(row.get("Metric Unit"))
        if not factor:
            continue
        name = f"{row['Kernel Name'].split('(')[0]} {row.get('Grid Size', '')}"
        total = totals.setdefault(name, [0.0, 0])
        total[0] += float(row["Metric Value"].replace(",", "")) * factor
        total[1] += 1
    return ranked(totals)


def by_kernel(log, last):
    """Microseconds and launches of each kernel among the `last` launches, the longest first."""
    units = {"ns": 1e-3, "µs": 1.0, "ms": 1e3, "s": 1e6}
    seen = []
    for line in log.read_text(errors="replace").splitlines() if log.is_file() else []:
        parts = line.split("|")
        if len(parts) < 3 or not parts[0].strip() == "":
            continue
        duration, name = parts[1].strip(), "|".join(parts[2:]).strip()
        number = duration.rstrip("nsµm")
        try:
            microseconds = float(number) * units[duration[len(number):]]
        except (ValueError, KeyError):
            continue
        seen.append((name, microseconds))
    totals = {}
    for name, microseconds in seen[-last:]:
        total = totals.setdefault(name, [0.0, 0])
        total[0] += microseconds
        total[1] += 1
    return {"all_launches": len(seen)} | ranked(totals)


def listed(pattern):
    """A reader of parts with commas between them, each of which is as the pattern says."""
    def read(text):
        parts = text.split(",")
        for part in parts:
            if not re.fullmatch(pattern, part):
                raise argparse.ArgumentTypeError(f"{part!r} is not {pattern}")
        return parts
    return read


def main():
    parser = argparse.ArgumentParser()
    for name in ("--kit", "--work", "--python"):
        parser.add_argument(name, required=True)
    parser.add_argument("--backend", choices=["cuda", "wgpu"], default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="these stages alone: environment,check,tests,prepare,curves,ours,torch,profile,ncu,beside,products,keep")
    parser.add_argument("--precisions", type=listed("f32|f16|bf16"), default="f32,f16,bf16", help="those that the device has")
    parser.add_argument("--train", type=listed(r"\d+x\d+"), default="8x256,1x256,4x1024", help="texts x tokens of a step")
    parser.add_argument("--decode", type=listed(r"\d+"), default="1,8", help="texts at a time")
    parser.add_argument("--minutes", type=float, default=8.0, help="no stage goes on after that")
    parser.add_argument("results")
    kit = Kit(parser.parse_args())
    if (kit.work / "kernels").is_dir():
        shutil.copytree(kit.work / "kernels", kit.runner.cache, dirs_exist_ok=True)
    try:
        kit.stage("environment", 20, kit.environment)
        kit.stage("check", 150, kit.check)
        kit.stage("prepare", 60, kit.prepare)
        kit.stage("tests", 150, kit.tests)
        kit.stage("curves", 120, kit.curves)
        kit.stage("ours", 150, kit.bench_ours)
        kit.stage("torch", 120, kit.bench_torch)
        kit.stage("profile", 60, kit.profile)
        kit.stage("ncu", 60, kit.ncu)
        kit.stage("beside", 240, kit.beside)
        kit.stage("products", 240, kit.products)
        kit.stage("keep", 20, kit.keep_kernels)
    finally:
        kit.memory.stop()
    print((kit.results / "table.md").read_text())
    failed = list(failures(kit.found["stages"]))
    for failure in failed:
        print(f"failed: {failure}")
    sys.exit(1 if failed else 0)


def failures(stages):
    """What did not go as it should, each by its place."""
    for name, stage in stages.items():
        for key, value in stage.items():
            wrong = value is False or key == "error" or (isinstance(value, dict) and ("error" in value or value.get("ok") is False))
            if wrong:
                yield f"{name}: {key}"


if __name__ == "__main__":
    main()
