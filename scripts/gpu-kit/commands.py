"""Commands under a limit, with their output kept, and the GPU's memory while they run."""

import json
import os
import signal
import subprocess
import threading
import time


class Done:
    """A command that ended or was ended."""

    def __init__(self, code, out, text, started, seconds):
        self.ok, self.code = code == 0, code
        self.out, self.text, self.started, self.seconds = out, text, started, seconds

    def json(self):
        return json.loads(self.out)

    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


class Runner:
    """Runs commands until a stage's limit, and writes what they say into one log, since few files may come back."""

    def __init__(self, results, work, deadline):
        self.results, self.work, self.limit = results, work, deadline
        self.cache = work / "cache"
        self.cache.mkdir(exist_ok=True)
        self.environment = os.environ | {"XDG_CACHE_HOME": str(self.cache), "NO_COLOR": "1"}

    def run(self, command, environment=None, folder=None):
        command = [str(part) for part in command]
        own = {"LD_LIBRARY_PATH": self.libraries()} if str(self.work) in command[0] else {}
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env=self.environment | own | (environment or {}), start_new_session=True, errors="replace",
        )
        try:
            out, err = process.communicate(timeout=max(1.0, self.limit - started))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += "\nended at the stage's limit\n"
        seconds = time.monotonic() - started
        text = out + err
        with open(self.results / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(command)}\n{text[-60_000:]}\n[{seconds:.1f} s, exit {process.returncode}]\n\n")
        if process.returncode != 0:
            print(f"   failed ({process.returncode}): {' '.join(command)}\n{text[-1500:]}", flush=True)
        return Done(process.returncode, out, text, started, seconds)

    def libraries(self):
        """Where our program finds NVRTC; PyTorch brings its own libraries."""
        return os.environ.get("GPU_KIT_LIBRARIES", "")

    def output(self, command):
        """What a command prints; nothing where there is none of that name."""
        try:
            return self.run(command).text.strip()
        except OSError:
            return ""

    def quiet(self, command):
        """Whether a command succeeds."""
        try:
            return subprocess.run(command, capture_output=True, timeout=120, env=self.environment).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


class MemoryWatch:
    """The GPU's memory in use, in MB, asked for ten times a second; nothing where there is no nvidia-smi."""

    def __init__(self):
        self.seen, self.process = [], None
        command = "nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 100".split()
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.seen.append((time.monotonic(), int(line)))

    def most_since(self, start):
        """The most that was in use since a moment, less what an idle GPU has in use: the least that was ever seen. What
        stood there just before will not do: a process that has ended still holds its memory for a while."""
        found = [used for when, used in self.seen if when >= start]
        return max(found) - min(used for _, used in self.seen) if found else None

    def stop(self):
        if self.process:
            self.process.terminate()
