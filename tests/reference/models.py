"""Tiny GPT-Neo folders with seeded random weights, and what transformers computes on them."""

import shutil

import torch
import vocabulary
from files import write_json
from records import format_record, prompt_of
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import GPTNeoConfig, GPTNeoForCausalLM

CONTINUATION = 24
# Below this distance between the two best tokens a greedy choice could turn on rounding.
SAFE_MARGIN = 1e-3

# name: (seed, config fields). Fields that a folder does not name are transformers' own defaults.
SHAPES = {
    "window": (11, dict(hidden_size=32, num_layers=4, attention_types=[[["global", "local"], 2]], num_heads=4,
                        window_size=8, max_position_embeddings=128)),
    "uneven": (12, dict(hidden_size=48, num_layers=3, attention_types=[[["global"], 1], [["local"], 2]], num_heads=3,
                        window_size=5, max_position_embeddings=64, intermediate_size=80)),
    "half": (13, dict(hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4,
                      window_size=8, max_position_embeddings=64)),
    "bfloat": (14, dict(hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4,
                        window_size=8, max_position_embeddings=64)),
    "sharded": (15, dict(hidden_size=16, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2,
                         window_size=4, max_position_embeddings=32)),
    "wide": (16, dict(hidden_size=32, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=4,
                      window_size=64, max_position_embeddings=64)),
}
STORED_AS = {"half": torch.float16, "bfloat": torch.bfloat16}
PROMPT_TOKENS = {"window": 40, "uneven": 20, "half": 16, "bfloat": 16, "sharded": 8, "pickle": 8, "buffers": 8, "wide": 24}


def random_model(name):
    """A model whose weights are wide enough that a wrong formula moves the logits far beyond rounding."""
    seed, fields = SHAPES[name]
    end = vocabulary.SIZE - 1
    config = GPTNeoConfig(
        vocab_size=vocabulary.SIZE, bos_token_id=end, eos_token_id=end,
        attention_dropout=0.0, embed_dropout=0.0, resid_dropout=0.0, **fields,
    )
    model = GPTNeoForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if ".ln_" in key and key.endswith("weight"):
                weight.copy_(1.0 + 0.2 * noise)
            elif weight.ndim == 1:
                weight.copy_(0.1 * noise)
            elif ".wte." in key or ".wpe." in key:
                weight.copy_(0.25 * noise)
            else:
                weight.copy_(noise * 1.2 / weight.shape[1] ** 0.5)
    return model.eval()


def load(folder):
    """The model of a folder in float32, as transformers reads it back."""
    model = GPTNeoForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    # Loaded weights lie in the mapped file, at addresses whose alignment changes the last bit of a product.
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


def write_models(out, tokenizer, records):
    """Write every model folder with its tokenizer and its expected.json."""
    for name in SHAPES:
        folder = out / name
        model = random_model(name).to(STORED_AS.get(name, torch.float32))
        model.save_pretrained(folder, **({"max_shard_size": "20KB"} if name == "sharded" else {}))
        vocabulary.save(tokenizer, folder)
    write_published_layouts(out)
    text = format_record(records[5])
    for name, count in PROMPT_TOKENS.items():
        ids = vocabulary.encode(tokenizer, text)[:count]
        facts = expectations(load(out / name), ids)
        if name == "window":
            facts |= padded_expectations(load(out / name), tokenizer, records)
        write_json(out / name / "expected.json", facts)


def write_published_layouts(out):
    """The weights of `sharded` once more, in the layouts of files published when GPT-Neo was new.

    Those files carry constants that are no weights: a scalar `masked_bias` in each layer, and the attention mask
    `bias` in the local layers. `pickle` is a pytorch_model.bin with the tied head as well and masks of bytes;
    `buffers` is a safetensors file with masks of booleans.
    """
    source = out / "sharded"
    model = load(source)
    config = model.config
    plain = {key: value.clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    positions = config.max_position_embeddings
    lower = torch.ones(positions, positions, dtype=torch.bool).tril()
    banded = (lower & ~lower.tril(-config.window_size)).view(1, 1, positions, positions)
    constants = {}
    for layer, kind in enumerate(config.attention_layers):
        prefix = f"transformer.h.{layer}.attn.attention"
        constants[f"{prefix}.masked_bias"] = torch.tensor(-1e9)
        if kind == "local":
            constants[f"{prefix}.bias"] = banded
    for name in ("pickle", "buffers"):
        folder = out / name
        folder.mkdir(parents=True)
        for file in source.iterdir():
            if "safetensors" not in file.name:
                shutil.copyfile(file, folder / file.name)
    bytes_for_masks = {k: v.to(torch.uint8) if v.dtype == torch.bool else v for k, v in constants.items()}
    tied_head = {"lm_head.weight": plain["transformer.wte.weight"]}
    torch.save(plain | bytes_for_masks | tied_head, out / "pickle" / "pytorch_model.bin")
    write_pickled_shards(source, out / "pickled_shards", plain)
    save_file(plain | {k: v.contiguous() for k, v in constants.items()}, out / "buffers" / "model.safetensors",
              metadata={"format": "pt"})


def write_pickled_shards(source, folder, plain):
    """The same weights as two pickled files and their index, for the loader alone: no tokenizer, nothing expected."""
    folder.mkdir(parents=True)
    shutil.copyfile(source / "config.json", folder / "config.json")
    # The second file begins with layer 1, which must not be taken for layer 0.
    second = {key for key in plain if ".h.1." in key or ".ln_f." in key}
    places = {key: f"pytorch_model-0000{2 if key in second else 1}-of-00002.bin" for key in sorted(plain)}
    for file in sorted(set(places.values())):
        torch.save({key: value for key, value in plain.items() if places[key] == file}, folder / file)
    size = sum(value.numel() * value.element_size() for value in plain.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    write_json(folder / "pytorch_model.bin.index.json", index, indent=1)


def logits_of(model, ids):
    """The logits [tokens, vocabulary] of one unpadded row."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def nll_of(logits, ids):
    """The negative log-likelihood of each token after the first."""
    return cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")


def greedy(model, rows, pad=None):
    """Greedy continuations of `rows`, padded on the left to one length; end-of-text does not stop them."""
    pad = vocabulary.SIZE - 1 if pad is None else pad
    longest = max(len(r) for r in rows)
    ids = torch.tensor([[pad] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    model.generation_config.eos_token_id = None
    result = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=CONTINUATION, do_sample=False, pad_token_id=pad,
        output_logits=True, return_dict_in_generate=True,
    )
    best = torch.stack(result.logits).topk(2, dim=-1).values
    margin = (best[..., 0] - best[..., 1]).min().item()
    assert margin > SAFE_MARGIN, f"greedy decoding is nearly tied (margin {margin})"
    return result.sequences[:, longest:].tolist(), margin


def expectations(model, ids):
    """Everything a forward pass and greedy decoding give for one prompt, with the facts of the configuration."""
    logits = logits_of(model, ids)
    nll = nll_of(logits, ids)
    continuation, margin = greedy(model, [ids])
    config = model.config
    return {
        "config": {
            "hidden_size": config.hidden_size,
            "num_layers": config.num_layers,
            "num_heads": config.num_heads,
            "intermediate_size": config.intermediate_size or 4 * config.hidden_size,
            "window_size": config.window_size,
            "max_position_embeddings": config.max_position_embeddings,
            "vocab_size": config.vocab_size,
            "attention_layers": list(config.attention_layers),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "input_ids": ids,
        "logits": logits,
        "nll": nll,
        "loss": nll.mean(),
        "greedy_ids": continuation[0],
        "greedy_margin": margin,
    }


def padded_expectations(model, tokenizer, records):
    """Two rows of unequal length: right-padded through the network, left-padded through greedy decoding."""
    rows = [vocabulary.encode(tokenizer, format_record(records[i]))[:n] for i, n in ((3, 22), (4, 12))]
    longest, pad = max(map(len, rows)), vocabulary.SIZE - 1
    ids = torch.tensor([r + [pad] * (longest - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    prompts = [vocabulary.encode(tokenizer, prompt_of(records[i])) for i in (4, 9)]
    prompts = [prompts[0], prompts[1][-7:]]
    continuations, margin = greedy(model, prompts)
    return {
        "right_padded": {
            "input_ids": ids,
            "attention_mask": mask,
            "lengths": [len(r) for r in rows],
            "logits": [logits[i, : len(r)] for i, r in enumerate(rows)],
        },
        "left_padded": {
            "prompts": prompts,
            "greedy_ids": continuations,
            "greedy_margin": margin,
        },
    }
