#!/usr/bin/env python3
"""Read a model or adapter folder that gptneo-lora wrote with transformers and PEFT, and print what they compute.

    check_outputs.py --model DIR [--adapter DIR] [--prompt TEXT] [--max-new-tokens 24] [--merge] [--all-logits]
    check_outputs.py --adapter DIR            the base is then the one that the adapter's configuration names

The tokenizer comes from the model folder. Prints one JSON object: counts of parameters, the prompt's ids, checksums of
the logits, their last row, the mean loss, and the greedy continuation with end-of-text ignored. `--merge` computes with
the adapter merged into the base; `--all-logits` adds the logits of every position.
Exit status 1: a tensor is missing, unexpected or of the wrong shape, or a library warned about the files.
"""

import argparse
import contextlib
import json
import logging
import sys
import warnings
from pathlib import Path

import checks  # noqa: F401  (before what it sets up)

import torch
from files import tidy
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

# Said about the libraries themselves, whatever the files hold.
NOT_ABOUT_FILES = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)


class Collector(logging.Handler):
    """Keeps every message from warning level up."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def listening(complaints):
    """Adds to `complaints` all that the libraries say about files inside."""
    transformers_logging.disable_progress_bar()
    collector = Collector()
    loggers = [logging.getLogger(library) for library in ("transformers", "peft")]
    for logger in loggers:
        logger.addHandler(collector)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for logger in loggers:
        logger.removeHandler(collector)
    complaints += [str(w.message) for w in caught if not issubclass(w.category, NOT_ABOUT_FILES)]
    complaints += collector.messages


def load_model(folder, complaints):
    """The model in float32; every key that does not fit is added to `complaints`."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        for entry in sorted(report.get(kind) or [], key=str):
            complaints.append(f"{folder}: {kind.replace('_', ' ')}: {entry}")
    return model.eval()


def load_adapter(model, folder, complaints):
    """The model with the adapter; the file's tensors are held against those that PEFT would save."""
    model = PeftModel.from_pretrained(model, folder).eval()
    found = load_file(Path(folder) / "adapter_model.safetensors")
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    complaints += [f"{folder}: missing key: {key}" for key in sorted(wanted.keys() - found.keys())]
    complaints += [f"{folder}: unexpected key: {key}" for key in sorted(found.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & found.keys()):
        if wanted[key].shape != found[key].shape:
            complaints.append(f"{folder}: {key}: expected {list(wanted[key].shape)}, found {list(found[key].shape)}")
        elif not torch.equal(wanted[key].float(), found[key].float()):
            complaints.append(f"{folder}: {key}: the loaded values differ from the file's")
    return model


def describe(model, tokenizer, prompt, max_new_tokens, all_logits):
    """Everything that is printed, but for the complaints."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    if ids.shape[1] < 1:
        raise SystemExit("the prompt has no tokens")
    positions = model.config.max_position_embeddings
    if ids.shape[1] + max_new_tokens > positions:
        raise SystemExit(
            f"the prompt's {ids.shape[1]} tokens and {max_new_tokens} new ones exceed the model's {positions} positions:"
            " give a shorter --prompt or fewer --max-new-tokens"
        )
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
    model.generation_config.eos_token_id = None
    made = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False,
        pad_token_id=tokenizer.eos_token_id,
    )[0, ids.shape[1] :]
    parameters = list(model.named_parameters())
    result = {
        "parameters": sum(p.numel() for key, p in parameters if "lora_" not in key),
        "adapter_parameters": sum(p.numel() for key, p in parameters if "lora_" in key),
        "prompt": prompt,
        "input_ids": ids[0],
        "logits_sum": logits.double().sum(),
        "logits_sum_of_squares": logits.double().square().sum(),
        "last_logits": logits[-1],
        "greedy_ids": made,
        "greedy_text": tokenizer.decode(made),
    }
    if ids.shape[1] > 1:
        result["loss"] = cross_entropy(logits[:-1], ids[0, 1:])
    if all_logits:
        result["logits"] = logits
    return tidy(result)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder; needed unless the adapter names one")
    parser.add_argument("--adapter", help="PEFT adapter folder")
    parser.add_argument("--prompt", default="Question: Why is my bicycle chain noisy?\nResponse:")
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--merge", action="store_true", help="merge the adapter before computing")
    parser.add_argument("--all-logits", action="store_true", help="print the logits of every position")
    args = parser.parse_args()
    if not args.model and not args.adapter:
        parser.error("give --model, --adapter or both")
    if args.merge and not args.adapter:
        parser.error("--merge needs --adapter")

    torch.set_num_threads(1)
    complaints = []
    with listening(complaints):
        folder = args.model or PeftConfig.from_pretrained(args.adapter).base_model_name_or_path
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = load_model(folder, complaints)
        if args.adapter:
            model = load_adapter(model, args.adapter, complaints)
        if args.merge:
            model = model.merge_and_unload()

    result = describe(model, tokenizer, args.prompt, args.max_new_tokens, args.all_logits)
    result["complaints"] = complaints
    print(json.dumps(result, ensure_ascii=False))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
