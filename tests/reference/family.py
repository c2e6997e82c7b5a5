"""The other models of the family, by their shapes: what transformers makes of their configurations, and what small
models with their peculiarities compute.

The small models' weights come from a formula that the Rust tests compute as well, bit for bit, so that models of
millions of weights need no files: weight i of tensor number t (in the order of the names) is `hashed(t, i)`, uniform
in [-1, 1), put to scale by the kind of the tensor.
"""

import json

import numpy
import torch
from files import write_json
from models import nll_of
from transformers import GPTNeoConfig, GPTNeoForCausalLM

# What the files of the published models hold beside the shape.
GPT_NEO_FIELDS = dict(
    gradient_checkpointing=False, summary_activation=None, summary_first_dropout=0.1, summary_proj_to_labels=True,
    summary_type="cls_index", summary_use_proj=True, tokenizer_class="GPT2Tokenizer",
    task_specific_params={"text-generation": {"do_sample": True, "max_length": 50, "temperature": 0.9}},
)
TINY_STORIES_FIELDS = dict(gradient_checkpointing=False, torch_dtype="float32")


def both(times):
    return [[["global", "local"], times]]


# Enough for the prompt; the feed-forward layers have no peculiarity.
SMALL = dict(vocab_size=131, max_position_embeddings=320, intermediate_size=64)

# name: (fields beside the shape, shape, what the small model has instead)
FAMILY = {
    "gpt-neo-1.3b": (
        GPT_NEO_FIELDS, dict(hidden_size=2048, num_layers=24, num_heads=16, attention_types=both(12)),
        # Heads of 128, whose unscaled scores are the largest of the family.
        SMALL | dict(hidden_size=256, num_layers=2, num_heads=2, attention_types=both(1)),
    ),
    "gpt-neo-2.7b": (
        GPT_NEO_FIELDS, dict(hidden_size=2560, num_layers=32, num_heads=20, attention_types=both(16)),
        # The same heads, in a number that is no power of two.
        SMALL | dict(hidden_size=384, num_layers=2, num_heads=3, attention_types=both(1)),
    ),
    # Small as it is, but for the vocabulary: heads of 4.
    "tinystories-1m": (
        TINY_STORIES_FIELDS, dict(hidden_size=64, num_layers=8, num_heads=16, attention_types=both(4)),
        dict(vocab_size=131),
    ),
    "tinystories-33m": (
        TINY_STORIES_FIELDS, dict(hidden_size=768, num_layers=4, num_heads=16, attention_types=both(2)),
        SMALL | dict(hidden_size=96),
    ),
}
COMMON = dict(vocab_size=50257, max_position_embeddings=2048, window_size=256, bos_token_id=50256, eos_token_id=50256,
              attention_dropout=0.0, embed_dropout=0.0, resid_dropout=0.0)
# Beyond the window, so that its edge is seen.
PROMPT_TOKENS = 300
LOGITS_KEPT = 8


def hashed(tensor, count):
    """`count` numbers in [-1, 1) of 24 bits each, by the finaliser of SplitMix64 over (tensor, index)."""
    x = numpy.arange(count, dtype=numpy.uint64) + (numpy.uint64(tensor + 1) << numpy.uint64(40))
    with numpy.errstate(over="ignore"):
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x ^= x >> numpy.uint64(31)
    bits = (x >> numpy.uint64(40)).astype(numpy.float64)
    return torch.from_numpy((bits / 2**23 - 1.0).astype(numpy.float32))


def fill(model):
    """Give every weight its number; returns [name, shape] of all tensors, in the order of their numbers."""
    named = sorted(model.named_parameters())
    with torch.no_grad():
        for number, (name, weight) in enumerate(named):
            values = hashed(number, weight.numel()).view(weight.shape)
            if ".ln_" in name and name.endswith("weight"):
                weight.copy_(1.0 + 0.25 * values)
            elif weight.ndim == 1:
                weight.copy_(0.125 * values)
            elif ".wte." in name or ".wpe." in name:
                weight.copy_(0.5 * values)
            else:
                # Rounded once, as in Rust: the factor is a double, the product is rounded to float.
                scaled = values.double() * (1.0 / weight.shape[1] ** 0.5)
                weight.copy_(scaled.float())
    return [[name, list(weight.shape)] for name, weight in named]


def write_family(out):
    """Write family/NAME.json for every model."""
    for name, (extra, shape, instead) in FAMILY.items():
        fields = COMMON | shape
        full = GPTNeoConfig(**fields)
        with torch.device("meta"):
            parameters = sum(p.numel() for p in GPTNeoForCausalLM(full).parameters())
        small = GPTNeoConfig(**(fields | instead | {"bos_token_id": 0, "eos_token_id": 0}))
        model = GPTNeoForCausalLM._from_config(small, attn_implementation="eager").eval()
        tensors = fill(model)
        ids = [(7 * t * t + 3 * t + 1) % small.vocab_size for t in range(PROMPT_TOKENS)]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        write_json(out / "family" / f"{name}.json", {
            "config": published(full, extra),
            "attention_layers": list(full.attention_layers),
            "parameters": parameters,
            "small": {
                "config": published(small, extra),
                "tensors": tensors,
                "input_ids": ids,
                "nll": nll_of(logits, ids),
                "last_logits": logits[-1, :LOGITS_KEPT],
            },
        })


def published(config, extra):
    """The configuration as a published file holds it: by its version of transformers, some fields more, some less."""
    fields = json.loads(config.to_json_string(use_diff=False))
    for field in ("dtype", "transformers_version", "classifier_dropout", "pad_token_id", "architectures"):
        fields.pop(field, None)
    return dict(sorted((fields | extra).items()))
