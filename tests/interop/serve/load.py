"""Many at once, leaving and staying: none lost, none wrong, no place stuck, memory flat. On this machine alone."""

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time

import httpx

from server import Server, adds_up

REQUESTS, AT_ONCE, ROUNDS = 200, 32, 3
KILLS, RESTARTS = 100, 20
# Memory may grow by so much between the rounds, in MB: pages that the allocator keeps.
GROWTH = 24


def bodies(models):
    """Requests of mixed lengths, adapters and samplings, the same each time; and after how many events each leaves."""
    random.seed(3)
    found = []
    for number in range(REQUESTS):
        words = " ".join(random.choice(["rest", "a virus", "skin", "the heart", "What is"]) for _ in range(random.randint(1, 12)))
        body = {
            "model": random.choice(models), "prompt": words, "max_tokens": random.randint(1, 60),
            "temperature": random.choice([0, 0, 1]), "seed": number, "logprobs": 1, "ignore_eos": random.random() < 0.5,
        }
        found.append((body, random.randint(0, 20) if number % 3 == 0 else None))
    return found


async def ask(client, url, body, leaves):
    """The answer's text and scores; nothing where it was left."""
    stream = {**body, "stream": True}
    async with client.stream("POST", f"{url}/v1/completions", json=stream) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {await answer.aread()}")
        text, scores, end, events = "", [], None, 0
        if leaves == 0:
            return None
        async for line in answer.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            choice = json.loads(line[6:])["choices"][0]
            text += choice["text"]
            scores += choice["logprobs"]["token_logprobs"]
            end = choice["finish_reason"] or end
            events += 1
            if leaves is not None and events >= leaves:
                return None
        return text, scores, end


async def all_at_once(url, asked):
    places = asyncio.Semaphore(AT_ONCE)
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:

        async def one(body, leaves):
            async with places:
                return await ask(client, url, body, leaves)

        return await asyncio.gather(*(one(*request) for request in asked))


def alone(server, asked):
    found = []
    for body, leaves in asked:
        if leaves is not None:
            found.append(None)
            continue
        choice = server.post("/v1/completions", body)["choices"][0]
        found.append((choice["text"], choice["logprobs"]["token_logprobs"], choice["finish_reason"]))
    return found


def run_load(checks, program, arguments):
    with Server(program, [*arguments, "--max-queue", "64"]) as server:
        asked = bodies(server.models)
        expected = alone(server, asked)
        resident = []
        for number in range(ROUNDS):
            begun = time.monotonic()
            found = asyncio.run(all_at_once(server.url, asked))
            seconds = time.monotonic() - begun
            wrong = [
                at for at, (left, one, other) in enumerate(zip((leaves for _, leaves in asked), found, expected))
                # One that meant to leave may have been faster than its own leaving.
                if left is None and one != other
            ]
            numbers = server.wait_idle()
            resident.append(server.resident_mb())
            checks.say(
                f"load, round {number + 1}: none lost, none wrong", not wrong and adds_up(numbers),
                f"{REQUESTS} requests, {AT_ONCE} at once, {seconds:.1f} s, {resident[-1]:.0f} MB {wrong[:3]}",
            )
        checks.say("memory is flat", resident[-1] - resident[0] < GROWTH, str([round(value) for value in resident]))
        failed = numbers['gptneo_sequences_ended_total{reason="failed"}']
        checks.say("nothing failed", failed == 0 and server.stop() == 0)


# A client that is killed: it asks, says so, reads and reads.
CLIENT = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
body = sys.argv[2].encode()
s.sendall(b"POST /v1/completions HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
print(flush=True)
while s.recv(4096): pass
"""


def run_kills(checks, program, arguments):
    random.seed(5)
    with Server(program, [*arguments, "--max-batch", "4"]) as server:
        for _ in range(KILLS // 10):
            body = json.dumps({"prompt": "a", "max_tokens": 400, "ignore_eos": True, "stream": True, "n": 2})
            command = [sys.executable, "-S", "-c", CLIENT, str(server.port), body]
            clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(10)]
            for client in clients:
                client.stdout.readline()
                time.sleep(random.random() * 0.05)
                client.kill()
            for client in clients:
                client.communicate()
        numbers = server.wait_idle()
        ended = {name: value for name, value in numbers.items() if name.startswith("gptneo_sequences")}
        checks.say(f"{KILLS} killed clients leave no place taken", adds_up(numbers), str(ended))
        # Those that were killed before the server had read them are not there.
        cancelled = ended['gptneo_sequences_ended_total{reason="cancelled"}']
        checks.say("most were taken, and ended by leaving", cancelled > KILLS, f"{cancelled:.0f} of {2 * KILLS} sequences")
        answer = server.post("/v1/completions", {"prompt": "a", "max_tokens": 4, "n": 4})
        checks.say("and the server answers", len(answer["choices"]) == 4 and server.stop() == 0)


def run_restarts(checks, program, arguments):
    server = Server(program, arguments)
    port, codes = server.port, []
    for number in range(RESTARTS):
        leaving = socket.create_connection(("127.0.0.1", port))
        body = json.dumps({"prompt": "a", "max_tokens": 60, "ignore_eos": True, "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        leaving.sendall(head.encode() + body)
        leaving.recv(1)
        how = signal.SIGTERM if number % 2 else signal.SIGKILL
        codes.append(server.stop(how) == (0 if how == signal.SIGTERM else -signal.SIGKILL))
        leaving.close()
        server = Server(program, arguments, port)
        codes.append(len(server.post("/v1/completions", {"prompt": "a", "max_tokens": 2})["choices"]) == 1)
    numbers = server.wait_idle()
    checks.say(f"{RESTARTS} restarts on one port", all(codes) and adds_up(numbers))
    server.stop()
