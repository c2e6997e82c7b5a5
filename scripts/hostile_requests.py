#!/usr/bin/env python3
"""Sends hostile requests to a server of the program and reports whatever is not a plain answer.

    scripts/hostile_requests.py PROGRAM [--count 2000] [--seed 1]

Half of them are bodies that are no request, in the shapes that clients send; the rest is broken HTTP: cut and long
heads, lies about lengths, many at once that never end. Reported are a server that ends, that takes more than a gigabyte
or ten seconds for a request, answers that are neither JSON nor an event, with another status than such requests have, with
long messages or with names of Rust's types, and a server that does not answer a plain request in between.
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hostile_answer import BYTES, FIXTURES, MARK, RUST, SECONDS

DEEP = ["[" * 100_000, '{"a":' * 100_000, '{"messages": ' * 50_000]
VALUES = [None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 10**19, 2**63, 2**64 - 1, "", "a", "\0", "\x1b[2J", "é" * 50,
          MARK * 5000, "<|endoftext|>", [], {}, [[]], [""], ["a", "b"], [0], [-1], [2**40], [[1, 2], []], [None], {"a": {}},
          [{"role": "user", "content": "a"}], [{"role": "tool", "content": [{"type": "image_url"}]}], ["a"] * 500, [[1] * 3000]]
FIELDS = ["model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "n", "seed",
          "stop", "logit_bias", "presence_penalty", "frequency_penalty", "repetition_penalty", "ignore_eos", "stream",
          "stream_options", "user", "logprobs", "top_logprobs", "echo", "best_of", "suffix", MARK * 200, "", "\x1b", "tokens",
          "content", "add_special_tokens"]
PATHS = ["/v1/completions", "/v1/completions", "/v1/chat/completions", "/v1/chat/completions", "/v1/models", "/tokenize",
         "/detokenize", "/metrics", "/health", "/openapi.json", "/", "/v1/" + MARK * 500, "//", "/%00", "/v1/models/" + "%1b" * 30]


def body(choose):
    kind = choose.randrange(10)
    base = choose.choice([{"prompt": "What?", "max_tokens": 2}, {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 2},
                          {"text": "a b"}, {"prompt": "a"}, {"tokens": [1, 2, 3]}])
    if kind == 0:
        return choose.choice([b"", b"null", b"[]", b"{", b"\xff\xfe", b"3", *[deep.encode() for deep in DEEP]])
    given = dict(base)
    for _ in range(choose.choice([0, 1, 1, 2, 4])):
        given[choose.choice(FIELDS)] = choose.choice(VALUES)
    if kind == 1:
        given["logit_bias"] = {choose.choice(["1", "-1", "x" * 300, "999999999999", "\x1b"]): choose.choice([1, 101, "a", 1e300, None])}
    text = json.dumps(given)
    if kind == 2:
        at = choose.randrange(len(text))
        text = text[:at] + choose.choice(["\\ud800", "NaN", "1e999", "{", "\x00", '"', "9" * 400, text]) + text[at + choose.randrange(3):]
    data = text.encode(errors="surrogatepass")
    return data[:choose.randrange(len(data))] if kind == 3 and data else data


def request(choose):
    """The bytes of a request, and whether the client says that no more will come: an answer is then given up."""
    path, data, ends = choose.choice(PATHS), body(choose), False
    method = "GET" if path in ("/v1/models", "/metrics", "/health", "/openapi.json", "/") and choose.random() < 0.7 else "POST"
    length, kind, more = str(len(data)), "application/json", ""
    match choose.randrange(20):
        case 0:
            length = choose.choice(["-1", "0", "99999999999999999999", "5", "abc", str(len(data) + 10)])
            ends = True
        case 1:
            kind = choose.choice(["text/plain", "", "application/json; charset=utf-7", MARK * 400])
        case 2:
            more = choose.choice(["Authorization: Bearer " + MARK * 4000, "X: " + "y" * 100_000, "Transfer-Encoding: chunked",
                                  "Expect: 100-continue", "Content-Encoding: gzip", "Connection: upgrade\r\nUpgrade: websocket"]) + "\r\n"
            ends = True
        case 3:
            method = choose.choice(["DELETE", "PUT", "OPTIONS", "HEAD", "CONNECT", "TRACE", MARK * 50])
        case 4:
            return choose.choice([b"\0" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\r\n" * 999]), True
        case 5:
            data = b'{"prompt": "' + b"a" * choose.choice([1 << 20, 5 << 20]) + b'"}'
            length = str(len(data))
        case 6:
            data = b'{"prompt": [' + b",".join([b'"a"'] * choose.choice([129, 100_000])) + b"]}"
            length = str(len(data))
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
    return head.encode() + data, ends


def send(port, data, ends, seconds=SECONDS):
    """The answer's bytes as far as they came, and how long they took."""
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            while piece := connection.recv(1 << 16):
                answer += piece
        except ConnectionError:
            pass
    return answer, time.monotonic() - began


def faults(answer):
    found = []
    head, _, content = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if answer and not status:
        return [f"answers {answer[:60]!r}"]
    if not answer:
        return []
    code = int(status.group(1))
    if code >= 500:
        found.append(f"answers with {code}")
    text = content.decode(errors="replace")
    if code >= 400 and content:
        if b"application/json" in head.lower():
            try:
                told = json.loads(text)["error"]
                message = told["message"]
                if len(message) > 500 or len(str(told.get("param"))) > 120:
                    found.append(f"says {len(message)} characters")
                if word := RUST.search(message):
                    found.append(f"says {word.group(0)!r}: {message[:200]}")
                if MARK * 41 in message:
                    found.append("quotes much of the request")
            except (ValueError, KeyError, TypeError):
                found.append(f"answers {text[:100]!r}")
        else:
            found.append(f"answers without JSON: {head[:200]!r}")
    return found


def memory(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen([os.path.realpath(arguments.program), "serve", "--model", FIXTURES / "window", "--port", str(port),
                                   "--backend", "flex"], stdout=said, stderr=said)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        plain = b'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 32\r\n\r\n{"prompt": "a", "max_tokens": 2}'
        findings, slowest, statuses, open_ones = 0, 0.0, {}, []
        for number in range(arguments.count):
            choose = random.Random(arguments.seed * 1_000_003 + number)
            data, ends = request(choose)
            if choose.random() < 0.03:
                # One that begins and never ends.
                lost = socket.create_connection(("127.0.0.1", port))
                lost.sendall(data[:choose.randrange(1, 200)])
                open_ones = (open_ones + [lost])[-100:]
                continue
            wrong = []
            try:
                answer, seconds = send(port, data, ends)
                slowest = max(slowest, seconds)
                status = answer[9:12].decode(errors="replace")
                statuses[status] = statuses.get(status, 0) + 1
                wrong = faults(answer)
                if number % 100 == 0 and b'"choices"' not in send(port, plain, ends=False)[0]:
                    wrong.append("a plain request is not answered")
            except TimeoutError:
                wrong.append(f"takes more than {SECONDS} s")
            except OSError as error:
                wrong.append(f"no connection: {error}")
            if server.poll() is not None:
                wrong.append(f"the server ends with {server.returncode}")
            elif memory(server.pid) > BYTES:
                wrong.append(f"takes {memory(server.pid) >> 20} MB")
            if wrong:
                findings += 1
                print(f"request {number}: {'; '.join(wrong)}\n  {data[:300]!r}", flush=True)
            if server.poll() is not None:
                break
        most = memory(server.pid) >> 20 if server.poll() is None else 0
        server.send_signal(signal.SIGINT)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            findings += 1
            print("the server does not end")
            server.kill()
        said.seek(0)
        text = said.read().decode(errors="replace")
        if "panicked" in text:
            findings += 1
            print(f"a panic: {text[text.index('panicked') - 200:][:600]}")
    print(f"{arguments.count} requests, by status {statuses}, {findings} findings, at most {slowest:.1f} s and {most} MB")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
