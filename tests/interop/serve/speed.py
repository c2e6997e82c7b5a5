"""What the server costs over the engine alone: the tokens of eight streams, and how long a ninth waits for its first."""

import asyncio
import json
import random
import statistics
import subprocess
import time

import httpx

from server import Server

STREAMS, PROMPT, TOKENS, ROUNDS = 8, 24, 128, 3
# Of what `bench generate` does with the same prompts at once.
SHARE = 0.85
# Decode steps of the others from asking to the first token of a short prompt: the one that is on when it comes, and the
# one that reads it. Now and then one more is counted, whose tokens were on their way when it was asked.
STEPS = 2
FIRSTS = 20


async def stream(client, url, prompt, tokens, told):
    """Calls `told` with the time of each token."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, "logprobs": 0}
    async with client.stream("POST", f"{url}/v1/completions", json=body, timeout=600) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {await answer.aread()}")
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                # An event holds what a step gave, and of a text cut inside a character nothing or two at once.
                for _ in json.loads(line[6:])["choices"][0]["logprobs"]["tokens"]:
                    told(time.monotonic())


async def together(url, prompts):
    times = []
    async with httpx.AsyncClient() as client:
        begun = time.monotonic()
        await asyncio.gather(*(stream(client, url, prompt, TOKENS, times.append) for prompt in prompts))
    if len(times) != STREAMS * TOKENS:
        raise RuntimeError(f"{len(times)} tokens of {STREAMS * TOKENS}")
    return len(times) / (times[-1] - begun)


async def first_tokens(url, prompts):
    """For each late request: the tokens that each of the eight was told before its first, the largest of them."""
    others = [[] for _ in prompts]
    found = []
    async with httpx.AsyncClient() as client:
        tasks = [asyncio.ensure_future(stream(client, url, prompt, 900, times.append)) for prompt, times in zip(prompts, others)]
        while min(len(times) for times in others) < 4:
            await asyncio.sleep(0.01)
        for number in range(FIRSTS):
            await asyncio.sleep(0.05 + 0.013 * number)
            first, asked = [], time.monotonic()
            await stream(client, url, [7, 8, 9, 10], 1, first.append)
            found.append(max(sum(asked < at < first[0] for at in times) for times in others))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def bench(program, model):
    command = [program, "bench", "generate", "--json", "--quiet", "--model", model, "--batch-size", str(STREAMS),
               "--prompt-length", str(PROMPT), "--max-new-tokens", str(TOKENS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["tokens_per_second"]


def run_speed(checks, program, model):
    random.seed(9)
    prompts = [[random.randint(0, 500) for _ in range(PROMPT)] for _ in range(STREAMS)]
    alone, served = [], []
    for _ in range(ROUNDS):
        alone.append(bench(program, model))
        with Server(program, ["--model", model, "--max-batch", "16"]) as server:
            asyncio.run(together(server.url, prompts))  # pages and caches warm, as the bench's are
            served.append(asyncio.run(together(server.url, prompts)))
    share = statistics.median(served) / statistics.median(alone)
    checks.say(f"{STREAMS} streams have {SHARE} of the engine's tokens per second", share >= SHARE,
               f"{share:.2f}: served {[round(value) for value in served]}, bench {[round(value) for value in alone]}")
    with Server(program, ["--model", model, "--max-batch", "16"]) as server:
        steps = asyncio.run(first_tokens(server.url, prompts))
        holds = statistics.median(steps) <= STEPS and max(steps) <= STEPS + 1
        checks.say(f"a short prompt has its first token within {STEPS} steps of {STREAMS} others", holds, str(steps))
        server.wait_idle()
