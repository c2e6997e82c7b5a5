"""Small formulas by themselves: sampling filters, learning-rate schedules and AdamW."""

import torch
from files import write_json
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

LOGITS = [0.3, -1.2, 2.1, 1.7, -0.4, 0.9, 2.6, -2.5, 1.1, 0.05, -0.8, 1.4]
PREVIOUS = [6, 3, 1, 6, 6, 9]

# In the order in which `generate` applies them.
FILTERS = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
}
SAMPLING_CASES = {
    "plain": {},
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.8},
    "top_p_tiny": {"top_p": 0.01},
    "repetition_penalty": {"repetition_penalty": 1.3},
    "temperature_top_p": {"temperature": 0.7, "top_p": 0.8},
    "all": {"repetition_penalty": 1.3, "temperature": 0.7, "top_k": 4, "top_p": 0.8},
}


def write_sampling(out):
    """Write the probabilities that are left of one vector of logits after each filter and after all of them."""
    ids = torch.tensor([PREVIOUS])
    cases = []
    for name, wanted in SAMPLING_CASES.items():
        chain = LogitsProcessorList(make(wanted[key]) for key, make in FILTERS.items() if key in wanted)
        scores = chain(ids, torch.tensor([LOGITS]))
        cases.append({"name": name, "settings": wanted, "probabilities": scores.softmax(dim=-1)[0]})
    write_json(out / "sampling.json",
               {"logits": LOGITS, "previous_ids": PREVIOUS, "order": list(FILTERS), "cases": cases})


def write_schedules(out, total=20):
    """Write the learning rate before each of steps 0 to `total`, for a peak of 1."""
    cases = []
    for warmup in (0, 5):
        for name, make in (
            ("constant", lambda o: get_constant_schedule_with_warmup(o, warmup)),
            ("linear", lambda o: get_linear_schedule_with_warmup(o, warmup, total)),
            ("cosine", lambda o: get_cosine_schedule_with_warmup(o, warmup, total)),
        ):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = make(optimizer)
            rates = []
            for _ in range(total + 1):
                rates.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            cases.append({"schedule": name, "warmup_steps": warmup, "total_steps": total, "rates": rates})
    write_json(out / "schedules.json", {"peak": 1.0, "cases": cases})


def write_adamw(out, steps=5):
    """Write AdamW's path for one tensor under given gradients, with and without weight decay."""
    generator = torch.Generator().manual_seed(31)
    start = torch.randn(2, 3, generator=generator)
    gradients = torch.randn(steps, 2, 3, generator=generator)
    gradients[2] *= 1e-4
    gradients[3, 0, 0] = 0.0
    cases = []
    for decay in (0.0, 0.01):
        weight = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
        path = []
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
            path.append(weight.detach().clone())
        state = optimizer.state[weight]
        cases.append({
            "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": decay,
            "values": path, "first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"],
        })
    write_json(out / "adamw.json", {"start": start, "gradients": gradients, "cases": cases})


def write_arithmetic(out):
    """Write the three files."""
    write_sampling(out)
    write_schedules(out)
    write_adamw(out)
