"""LoRA adapters in PEFT's own files, with the logits they give before and after merging."""

import json

import torch
import vocabulary
from files import write_json
from models import greedy, load, logits_of, nll_of
from peft import LoraConfig, PeftModel, get_peft_model
from records import format_record

PROMPT_TOKENS = 18

# folder: (base, seed, fields of the LoRA configuration)
ADAPTERS = {
    "adapter_qv": ("window", 21, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
    "adapter_all": ("window", 22, dict(
        r=3, lora_alpha=6, use_rslora=True,
        target_modules=["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"],
    )),
    "adapter_wide": ("wide", 23, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
}


def attach(base, adapter, trainable=False):
    """The base model of a folder with the adapter of another, as PEFT loads it."""
    return PeftModel.from_pretrained(load(base), adapter, is_trainable=trainable).eval()


def save(model, folder, base_name):
    """Save with PEFT, without its model card, and with everything that differs from run to run made plain."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # PEFT keeps the targets in a set, whose order changes, and the base as the path it happened to be read from.
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base_name
    write_json(path, config, indent=2)


def write_adapters(out, tokenizer, records):
    """Write every adapter folder with its expected.json."""
    for name, (base, seed, fields) in ADAPTERS.items():
        torch.manual_seed(seed)
        config = LoraConfig(lora_dropout=0.1, bias="none", task_type="CAUSAL_LM", **fields)
        model = get_peft_model(load(out / base), config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, weight in sorted(model.named_parameters()):
                if "lora_B" in key:
                    weight.copy_(0.15 * torch.randn(weight.shape, generator=generator))
        save(model, out / name, base)
        ids = vocabulary.encode(tokenizer, format_record(records[2]))[:PROMPT_TOKENS]
        write_json(out / name / "expected.json", expectations(out / base, out / name, ids))


def expectations(base, adapter, ids):
    """Logits with the adapter beside the base and merged into it, and the greedy continuation."""
    model = attach(base, adapter)
    trainable = sum(p.numel() for key, p in model.named_parameters() if "lora_" in key)
    logits = logits_of(model, ids)
    nll = nll_of(logits, ids)
    continuation, margin = greedy(model, [ids])
    merged = model.merge_and_unload()
    return {
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
