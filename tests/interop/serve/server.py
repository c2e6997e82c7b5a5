"""The server as a child process, for the scripts beside this file."""

import json
import re
import signal
import subprocess
import time
import urllib.request


class Server:
    """Runs until `stop` or the end of a `with`."""

    def __init__(self, program, arguments, port=0, key=None):
        self.headers = {"Content-Type": "application/json"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"
        command = [str(program), "serve", "--port", str(port), *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            found = re.match(r"(http://[^/]+)/ answers as (.*)", line)
            if found:
                self.url, self.models = found[1], found[2].strip().split(", ")
                return
        raise RuntimeError(f"the server did not start: {''.join(self.said)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, how=signal.SIGTERM):
        """Ends it; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process.stderr.close()
        return code

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), self.headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def metrics(self):
        """The numbers of `/metrics`, by name and labels."""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def wait_idle(self, seconds=60):
        """Waits until nothing runs or waits; returns the numbers."""
        end = time.monotonic() + seconds
        while True:
            found = self.metrics()
            # The request that asks is in flight itself.
            busy = found["gptneo_sequences_running"] + found["gptneo_sequences_queued"]
            if busy == 0 and found["gptneo_http_requests_in_flight"] == 1:
                return found
            if time.monotonic() > end:
                raise RuntimeError(f"a place stays taken: {found}")
            time.sleep(0.02)

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def adds_up(numbers):
    """Whether the sequences that were taken are those that run, wait and ended, and no room is lost."""
    ended = sum(value for name, value in numbers.items() if name.startswith("gptneo_sequences_ended_total"))
    there = numbers["gptneo_sequences_running"] + numbers["gptneo_sequences_queued"]
    free = numbers["gptneo_cache_tokens_free"] == numbers["gptneo_cache_tokens"] or there > 0
    return numbers["gptneo_sequences_accepted_total"] == ended + there and free
