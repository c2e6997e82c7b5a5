"""LoRA adapters in PEFT's own files, with the logits they give before and after merging."""

import json

import torch
import vocabulary
from files import write_json
from models import greedy, load, logits_of, nll_of
from peft import LoraConfig, PeftModel, get_peft_model
from records import format_record
from safetensors.torch import load_file

PROMPT_TOKENS = 18

# folder: (base, seed, fields of the LoRA configuration)
ADAPTERS = {
    "adapter_qv": ("window", 21, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
    "adapter_all": ("window", 22, dict(
        r=3, lora_alpha=6, use_rslora=True,
        target_modules=["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"],
    )),
    "adapter_wide": ("wide", 23, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
    # Layers without and with a bias.
    "adapter_dora": ("window", 24, dict(
        r=3, lora_alpha=6, use_dora=True, target_modules=["q_proj", "v_proj", "out_proj", "c_fc", "c_proj"],
    )),
}

# Adapters of `window` whose settings pick the layers, the ranks and the alphas in every way that PEFT has.
# folder: (seed, type of the saved matrices, fields). The name `o_proj` fits nothing.
VARIANTS = {
    "patterns": (31, torch.float32, dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "c_fc"],
        rank_pattern={"h.1.attn.attention.q_proj": 1, "q_proj": 2, "mlp.c_fc": 3},
        alpha_pattern={"^transformer.h.2.attn.attention.v_proj": 20, "attention.v_proj": 5, r"0\.mlp\.c_fc": 1},
    )),
    "patterns_rslora": (32, torch.float32, dict(
        r=3, lora_alpha=4, use_rslora=True, target_modules=["out_proj", "c_fc", "c_proj"],
        rank_pattern={"c_proj": 2, "2.attn.attention.out_proj": 5}, alpha_pattern={"c_proj": 7, "h.3.mlp.c_fc": 2},
    )),
    "all_linear": (33, torch.float32, dict(r=1, lora_alpha=2, target_modules="all-linear")),
    "paths": (34, torch.float32, dict(
        r=2, lora_alpha=6,
        target_modules=["transformer.h.0.attn.attention.q_proj", "2.attn.attention.v_proj", "mlp.c_proj", "o_proj"],
    )),
    "layers": (35, torch.bfloat16, dict(
        r=2, lora_alpha=8, target_modules=["q_proj", "c_fc"], layers_to_transform=[1, 3], layers_pattern="h",
    )),
    "excluded": (36, torch.float16, dict(
        r=2, lora_alpha=8, target_modules=["k_proj", "v_proj"],
        exclude_modules=["h.0.attn.attention.k_proj", "3.attn.attention.v_proj"], init_lora_weights="gaussian",
    )),
    # As PEFT wrote its files before 0.6. Layers 0 and 2 have none, so that their numbers must be kept.
    "pickled": (37, torch.float32, dict(r=2, lora_alpha=4, target_modules=["v_proj"], layers_to_transform=[1, 3])),
}


def attach(base, adapter, trainable=False):
    """The base model of a folder with the adapter of another, as PEFT loads it."""
    return PeftModel.from_pretrained(load(base), adapter, is_trainable=trainable).eval()


def save(model, folder, base_name, **options):
    """Save with PEFT, without its model card, and with everything that differs from run to run made plain."""
    model.save_pretrained(folder, save_embedding_layers=False, **options)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # PEFT keeps names in sets, whose order changes, and the base as the path it happened to be read from.
    for field in ("target_modules", "exclude_modules"):
        if isinstance(config[field], list):
            config[field] = sorted(config[field])
    config["base_model_name_or_path"] = base_name
    write_json(path, config, indent=2)


def with_random_adapter(base, seed, fields):
    """The model of a folder with a fresh adapter whose B is not zero."""
    torch.manual_seed(seed)
    model = get_peft_model(load(base), LoraConfig(lora_dropout=0.1, task_type="CAUSAL_LM", **fields))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in sorted(model.named_parameters()):
            if "lora_B" in key:
                weight.copy_(0.15 * torch.randn(weight.shape, generator=generator))
            if "lora_magnitude_vector" in key:
                # PEFT starts it at the norms of the rows of the base.
                weight.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator))
    return model


def write_adapters(out, tokenizer, records):
    """Write every adapter folder with its expected.json."""
    for name, (base, seed, fields) in ADAPTERS.items():
        model = with_random_adapter(out / base, seed, fields)
        save(model, out / name, base)
        ids = vocabulary.encode(tokenizer, format_record(records[2]))[:PROMPT_TOKENS]
        write_json(out / name / "expected.json", expectations(out / base, out / name, ids))
    for name, (seed, dtype, fields) in VARIANTS.items():
        folder = out / "peft" / name
        save_variant(out / "window", folder, seed, dtype, fields)
        write_json(folder / "expected.json", short_expectations(out / "window", folder, ids))


def save_variant(base, folder, seed, dtype, fields):
    """Save an adapter of VARIANTS."""
    model = with_random_adapter(base, seed, fields)
    for key, weight in model.named_parameters():
        if "lora_" in key:
            weight.data = weight.data.to(dtype)
    save(model, folder, base.name)
    if folder.name == "pickled":
        matrices = folder / "adapter_model.safetensors"
        torch.save(load_file(matrices), folder / "adapter_model.bin")
        matrices.unlink()


def short_expectations(base, adapter, ids):
    """What fits in a small file: each token's loss, which rests on all logits, and the greedy continuation."""
    whole = expectations(base, adapter, ids)
    return {key: whole[key] for key in ("adapter_parameters", "input_ids", "nll", "greedy_ids", "greedy_margin")}


def expectations(base, adapter, ids):
    """Logits with the adapter beside the base and merged into it, and the greedy continuation."""
    model = attach(base, adapter)
    trainable = sum(p.numel() for key, p in model.named_parameters() if "lora_" in key)
    logits = logits_of(model, ids)
    nll = nll_of(logits, ids)
    continuation, margin = greedy(model, [ids])
    merged = model.merge_and_unload()
    rows = {}
    if "dora" in adapter.name:
        linears = [(key, w) for key, w in merged.named_parameters() if key.endswith(("_proj.weight", "c_fc.weight"))]
        rows["merged_rows"] = {key: weight[-1].tolist() for key, weight in linears}
    return rows | {
        "base": base.name,
        "adapter_parameters": trainable,
        "input_ids": ids,
        "logits": logits,
        "nll": nll,
        "loss": nll.mean(),
        "greedy_ids": continuation[0],
        "greedy_margin": margin,
        "merged_logits": logits_of(merged, ids),
    }
