"""Perplexity under the three protocols, one record at a time, so that no batch can colour the numbers."""

import math

import adapters
import torch
import vocabulary
from files import write_json
from models import load
from records import format_record, prompt_of
from torch.nn.functional import cross_entropy

MAX_LENGTH = 64
LIMIT = 40


def token_losses(model, ids, real=None):
    """Loss of each token after the first; no position attends to those from `real` on."""
    row = torch.tensor([ids])
    mask = torch.ones_like(row)
    if real is not None:
        mask[:, real:] = 0
    with torch.no_grad():
        logits = model(input_ids=row, attention_mask=mask).logits[0, :-1]
    return cross_entropy(logits, row[0, 1:], reduction="none").double()


def score(model, tokenizer, record):
    """(summed loss, weight) of one record under each protocol."""
    end = vocabulary.SIZE - 1
    ids = vocabulary.encode(tokenizer, format_record(record))
    prompt = len(vocabulary.encode(tokenizer, prompt_of(record)))

    # The notebook's mean runs over padding too, yet is weighted by the real tokens alone.
    cut = ids[:MAX_LENGTH]
    filled = token_losses(model, cut + [end] * (MAX_LENGTH - len(cut)), real=len(cut))
    text = token_losses(model, (ids + [end])[:MAX_LENGTH])
    response = text[prompt - 1 :]
    return {
        "notebook": (filled.mean().item() * len(cut), len(cut)),
        "text": (text.sum().item(), len(text)),
        "response": (response.sum().item(), len(response)),
    }


def evaluate(model, tokenizer, records):
    """Each protocol's weighted mean loss, perplexity and token count, with every record's own sums."""
    rows = [score(model, tokenizer, r) for r in records[:LIMIT]]
    result = {}
    for protocol in ("notebook", "text", "response"):
        total, tokens = (sum(row[protocol][i] for row in rows) for i in (0, 1))
        loss = total / tokens
        result[protocol] = {
            "loss": loss,
            "perplexity": math.exp(loss),
            "tokens": tokens,
            "records": [list(row[protocol]) for row in rows],
        }
    return result


def write_perplexity(out, tokenizer, records):
    """Write perplexity.json: `wide` without and with its adapter."""
    write_json(out / "perplexity.json", {
        "model": "wide",
        "adapter": "adapter_wide",
        "max_length": MAX_LENGTH,
        "limit": LIMIT,
        "without_adapter": evaluate(load(out / "wide"), tokenizer, records),
        "with_adapter": evaluate(adapters.attach(out / "wide", out / "adapter_wide"), tokenizer, records),
    })
