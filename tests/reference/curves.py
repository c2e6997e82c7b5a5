"""Training curves: what a correct trainer must reproduce step by step, from PyTorch's AdamW and PEFT."""

import adapters
import torch
import vocabulary
from files import write_json
from models import load
from records import format_record, prompt_of
from torch.nn.functional import cross_entropy

IGNORED = -100
SETTINGS = {
    "base": "window",
    "optimizer": "AdamW",
    "learning_rate": 1e-3,
    "schedule": "linear to 0 over the steps, no warm-up",
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.01,
    "decayed": "every trained tensor",
    "max_grad_norm": 1.0,
    "batch_size": 3,
    "max_length": 64,
    "dropout": 0.0,
    "order": "file order, no shuffling",
}


def example(tokenizer, record, response_only, max_length):
    """Ids and labels of one record: the text and one end-of-text, cut at `max_length`."""
    ids = vocabulary.encode(tokenizer, format_record(record)) + [vocabulary.SIZE - 1]
    hidden = len(vocabulary.encode(tokenizer, prompt_of(record))) if response_only else 0
    labels = [IGNORED] * hidden + ids[hidden:]
    return ids[:max_length], labels[:max_length]


def summed_loss(model, rows):
    """The summed loss of a padded batch and its count of supervised tokens."""
    longest = max(len(ids) for ids, _ in rows)

    def padded(values, filler):
        return torch.tensor([v + [filler] * (longest - len(v)) for v in values])

    ids = padded([i for i, _ in rows], vocabulary.SIZE - 1)
    labels = padded([l for _, l in rows], IGNORED)[:, 1:]
    mask = padded([[1] * len(i) for i, _ in rows], 0)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    total = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total, int((labels != IGNORED).sum())


def sums(tensors):
    """Shape, sum and sum of squares of each named tensor, added up in double precision."""
    return {
        key: {"shape": list(t.shape), "sum": t.double().sum(), "sum_of_squares": t.double().square().sum()}
        for key, t in sorted(tensors)
    }


def train(model, rows, steps, accumulate=1):
    """Train and give the curve with the gradients' sums of the first step (before clipping).

    The loss of a step is the mean over all supervised tokens of its `accumulate` batches.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    trained = [(key, p) for key, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in trained]
    s = SETTINGS
    optimizer = torch.optim.AdamW(
        parameters, lr=s["learning_rate"], betas=tuple(s["betas"]), eps=s["eps"], weight_decay=s["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: max(0.0, 1.0 - done / steps))
    size = s["batch_size"]
    batches = [rows[at : at + size] for at in range(0, steps * accumulate * size, size)]
    curve, first_gradients = [], None
    for step in range(steps):
        micro = batches[step * accumulate : (step + 1) * accumulate]
        tokens = sum(sum(label != IGNORED for label in labels[1:]) for batch in micro for _, labels in batch)
        loss = 0.0
        for batch in micro:
            total, _ = summed_loss(model, batch)
            (total / tokens).backward()
            loss += total.item() / tokens
        if first_gradients is None:
            first_gradients = sums((key, p.grad) for key, p in trained)
        norm = torch.nn.utils.clip_grad_norm_(parameters, s["max_grad_norm"])
        curve.append({
            "step": step + 1,
            "loss": loss,
            "grad_norm": norm.item(),
            "lr": schedule.get_last_lr()[0],
            "supervised_tokens": tokens,
        })
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return curve, first_gradients


def write_curves(out, tokenizer, records):
    """Write the four curves and the adapters that two of them end with."""
    text, response = (
        [example(tokenizer, r, only, SETTINGS["max_length"]) for r in records] for only in (False, True)
    )
    for kind, rows in (("text", text), ("response", response)):
        model = adapters.attach(out / "window", out / "adapter_qv", trainable=True)
        curve, gradients = train(model, rows, steps=20)
        trained = f"adapter_qv_{kind}_trained"
        adapters.save(model.eval(), out / trained, "window")
        settings = SETTINGS | {"adapter": "adapter_qv", "labels": kind, "accumulate": 1, "trained": trained}
        write_json(out / f"curve_{kind}.json", {"settings": settings, "steps": curve, "first_gradients": gradients})

    model = adapters.attach(out / "window", out / "adapter_qv", trainable=True)
    curve, gradients = train(model, text, steps=5, accumulate=2)
    settings = SETTINGS | {"adapter": "adapter_qv", "labels": "text", "accumulate": 2}
    write_json(out / "curve_accumulate.json", {"settings": settings, "steps": curve, "first_gradients": gradients})

    model = adapters.attach(out / "window", out / "adapter_dora", trainable=True)
    curve, gradients = train(model, text, steps=10)
    adapters.save(model.eval(), out / "adapter_dora_trained", "window")
    settings = SETTINGS | {"adapter": "adapter_dora", "labels": "text", "accumulate": 1, "trained": "adapter_dora_trained"}
    write_json(out / "curve_dora.json", {"settings": settings, "steps": curve, "first_gradients": gradients})

    model = load(out / "window")
    curve, gradients = train(model, text, steps=10)
    settings = SETTINGS | {"adapter": None, "labels": "text", "accumulate": 1}
    weights = sums(model.named_parameters())
    write_json(out / "curve_full.json",
               {"settings": settings, "steps": curve, "first_gradients": gradients, "weights": weights})
