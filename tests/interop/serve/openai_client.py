"""The official Python client: lists, completions, chats, streams, stop texts, seeds, log-probabilities, refusals, leaving."""

import asyncio

import openai

PROMPT = "Instruction: Answer this question truthfully\nQuestion: What is rest?\nResponse:"


def run(checks, server, key):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
    base, tuned = server.models
    checks.say("models are listed", [model.id for model in client.models.list()] == [base, tuned])
    checks.say("a model is described", client.models.retrieve(tuned).id == tuned)

    def complete(**more):
        return client.completions.create(**{"model": base, "prompt": PROMPT, "max_tokens": 16, "temperature": 0, **more})

    whole = complete()
    checks.say("a completion", whole.usage.completion_tokens > 0 and whole.object == "text_completion")
    pieces = list(complete(stream=True, stream_options={"include_usage": True}))
    joined = "".join(piece.choices[0].text for piece in pieces if piece.choices)
    checks.say("a stream is the whole in pieces", joined == whole.choices[0].text and len(pieces) > 2)
    checks.say("a stream counts its tokens", pieces[-1].usage == whole.usage)
    text = whole.choices[0].text
    stop = text[5:8]
    checks.say("a stop text", complete(stop=stop).choices[0].text == text[: text.index(stop)])

    several = complete(n=3, temperature=1.0, seed=7)
    again = complete(n=3, temperature=1.0, seed=7)
    texts = [choice.text for choice in several.choices]
    checks.say("n answers, all different", len(set(texts)) == 3)
    checks.say("the same seed, the same answers", texts == [choice.text for choice in again.choices])
    other = complete(n=3, temperature=1.0, seed=8)
    checks.say("another seed, other answers", texts != [choice.text for choice in other.choices])

    scored = complete(max_tokens=4, echo=True, logprobs=2).choices[0]
    logprobs = scored.logprobs
    checks.say("a prompt's first token has no score", logprobs.token_logprobs[0] is None)
    places = zip(logprobs.tokens, logprobs.text_offset)
    checks.say("offsets", all(scored.text[at:].startswith(token) for token, at in places))
    lists = zip(logprobs.tokens[1:], logprobs.token_logprobs[1:], logprobs.top_logprobs[1:])
    checks.say("a token is among its likeliest, alike to the last digit", all(top[t] == p for t, p, top in lists))
    banned = complete(max_tokens=1, logprobs=1).choices[0].logprobs.tokens[0]
    ids = server.post("/tokenize", {"prompt": banned})["tokens"] if not banned.startswith("bytes:") else []
    if len(ids) == 1:
        answer = complete(max_tokens=1, logprobs=1, logit_bias={str(ids[0]): -100}).choices[0].logprobs.tokens[0]
        checks.say("a biased token is not chosen", answer != banned)

    def chat(**more):
        messages = [{"role": "user", "content": "What is rest?"}]
        return client.chat.completions.create(
            **{"model": tuned, "messages": messages, "max_tokens": 16, "temperature": 0, **more}
        )

    answer = chat(logprobs=True, top_logprobs=2).choices[0]
    checks.say("a chat", answer.message.role == "assistant" and len(answer.logprobs.content[0].top_logprobs) == 2)
    pieces = [piece.choices[0].delta.content or "" for piece in chat(stream=True)]
    checks.say("a chat's stream", "".join(pieces) == answer.message.content)
    plain = complete(model=tuned).choices[0].text
    checks.say("a chat is asked as the model was tuned", answer.message.content == plain.lstrip())

    def refused(kind, word, call):
        try:
            call()
        except kind as error:
            checks.say(f"refused: {word}", word in str(error), str(error)[:120])
        else:
            checks.say(f"refused: {word}", False, "it was not")

    refused(openai.NotFoundError, "there is no model", lambda: complete(model="gpt-4"))
    refused(openai.BadRequestError, "`suffix` is not supported", lambda: complete(suffix="b"))
    refused(openai.BadRequestError, "`tools` is not supported", lambda: chat(tools=[]))
    refused(openai.BadRequestError, "positions", lambda: complete(max_tokens=100_000))
    locked = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, "wants its key", locked.models.list)

    with complete(stream=True, max_tokens=100, extra_body={"ignore_eos": True}) as stream:
        next(iter(stream))
    server.wait_idle()
    checks.say("leaving a stream frees its place", True)

    async def together():
        asking = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
        asked = [
            asking.completions.create(model=model, prompt=PROMPT, max_tokens=16, temperature=0)
            for model in [base, tuned] * 8
        ]
        return [answer.choices[0].text for answer in await asyncio.gather(*asked)]

    found = asyncio.run(together())
    alone = {base: whole.choices[0].text, tuned: plain}
    checks.say("sixteen at once answer as alone", found == [alone[base], alone[tuned]] * 8)

