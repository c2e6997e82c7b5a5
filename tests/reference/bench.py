#!/usr/bin/env python3
"""Time training steps and greedy generation with transformers and PEFT: the other side of `gptneo-lora bench`.

    bench.py train    --config CONFIG.json [--batch-size 8] [--length 256] [--steps 5] [--autocast bfloat16]
    bench.py generate --config CONFIG.json [--batch-size 1] [--prompt-length 24] [--max-new-tokens 128] [--dtype bfloat16]

Weights and tokens are random. Training: LoRA of rank 16, alpha 32, dropout 0.1 on q_proj and v_proj, AdamW at 2e-4,
gradients clipped at 1. Prints one JSON object: the median without the first step or round, and the largest memory.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPTNeoConfig, GPTNeoForCausalLM


def random_model(path):
    torch.manual_seed(42)
    return GPTNeoForCausalLM(GPTNeoConfig.from_json_file(path))


def time_training(args):
    lora = LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(random_model(args.config), lora)
    model.train()
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=2e-4, weight_decay=0.01)
    ids = torch.randint(0, model.config.vocab_size, (args.batch_size, args.length))
    dtype = getattr(torch, args.autocast or "float32")
    seconds, losses = [], []
    for _ in range(args.steps):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=args.autocast is not None):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    median = statistics.median(seconds[1:] or seconds)
    tokens = args.batch_size * args.length
    return {"seconds_per_step": median, "tokens_per_second": tokens / median, "losses": losses, "seconds": seconds}


def time_generation(args):
    model = random_model(args.config).to(getattr(torch, args.dtype)).eval()
    model.generation_config.eos_token_id = None
    ids = torch.randint(0, model.config.vocab_size, (args.batch_size, args.prompt_length))
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=args.max_new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])
    return {"tokens_per_second": args.batch_size * args.max_new_tokens / median, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    train = commands.add_parser("train")
    train.add_argument("--batch-size", type=int, default=8)
    train.add_argument("--length", type=int, default=256)
    train.add_argument("--steps", type=int, default=5)
    train.add_argument("--autocast", choices=["bfloat16"])
    generate = commands.add_parser("generate")
    generate.add_argument("--batch-size", type=int, default=1)
    generate.add_argument("--prompt-length", type=int, default=24)
    generate.add_argument("--max-new-tokens", type=int, default=128)
    generate.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    for command in (train, generate):
        command.add_argument("--config", required=True)
    args = parser.parse_args()
    report = time_training(args) if args.what == "train" else time_generation(args)
    report["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report["torch"] = torch.__version__
    print(json.dumps(report))


if __name__ == "__main__":
    main()
