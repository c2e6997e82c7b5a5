#!/usr/bin/env python3
"""Time training steps and greedy generation with transformers and PEFT: the other side of `gptneo-lora bench`.

    bench.py train    --config CONFIG.json [--batch-size 8] [--length 256] [--steps 5] [--autocast bfloat16]
                      [--target-modules q_proj,v_proj] [--dora]
    bench.py records  --model FOLDER --data RECORDS.json [--padding limit|longest] [--length 256] [--steps 8]
    bench.py generate --config CONFIG.json [--batch-size 1] [--prompt-length 24] [--max-new-tokens 128] [--dtype bfloat16]

Weights and tokens are random, except where a folder and records are given. Training: LoRA of rank 16, alpha 32, dropout
0.1 on q_proj and v_proj or what --target-modules names, AdamW at 2e-4, gradients clipped at 1; float16 with a `GradScaler`.
With --device cuda times end when the GPU is done. Prints one JSON object: the median without the first step or round (for
records their mean), and the largest memory: of the process on a CPU, of PyTorch's own counters on a GPU.
"""

import argparse
import json
import random
import resource
import statistics
import time
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer, GPTNeoConfig, GPTNeoForCausalLM


def random_model(path, device="cpu"):
    torch.manual_seed(42)
    with torch.device(device):
        return GPTNeoForCausalLM(GPTNeoConfig.from_json_file(path))


def wait(device):
    """Until the device has done what it was asked to."""
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device):
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device):
    """Bytes: all of the process on a CPU; on a GPU what tensors took and what PyTorch held for them."""
    if device == "cuda":
        return {
            "peak_memory_bytes": torch.cuda.max_memory_allocated(),
            "reserved_memory_bytes": torch.cuda.max_memory_reserved(),
        }
    return {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


class Trainer:
    """The recipe's step: LoRA of rank 16, on q_proj and v_proj if nothing else is asked for, AdamW, clipping at 1.

    With `adapter` the LoRA of that folder is trained on, without dropout.
    """

    def __init__(
        self,
        model,
        autocast=None,
        device="cpu",
        adapter=None,
        schedule=None,
        targets=("q_proj", "v_proj"),
        dora=False,
    ):
        if adapter:
            self.model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
        else:
            lora = LoraConfig(
                r=16,
                lora_alpha=32,
                lora_dropout=0.1,
                target_modules=list(targets),
                use_dora=dora,
                task_type="CAUSAL_LM",
            )
            self.model = get_peft_model(model, lora)
        self.model.to(device).train()
        if adapter:
            for module in self.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        self.trainable = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=2e-4, weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, schedule or (lambda done: 1.0))
        self.device, self.autocast = device, autocast
        self.scaler = torch.amp.GradScaler(device, enabled=autocast == "float16")
        self.seconds, self.losses, self.norms = [], [], []

    def step(self, ids, mask):
        start = time.perf_counter()
        ids, mask = ids.to(self.device), mask.to(self.device)
        dtype = getattr(torch, self.autocast or "float32")
        with torch.autocast(self.device, dtype=dtype, enabled=self.autocast is not None):
            labels = ids.masked_fill(mask == 0, -100)
            loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trainable, 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.optimizer.zero_grad()
        wait(self.device)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())
        self.norms.append(norm.item())


def time_training(args):
    model = random_model(args.config, args.device)
    targets = args.target_modules.split(",")
    trainer = Trainer(model, args.autocast, args.device, targets=targets, dora=args.dora)
    ids = torch.randint(0, trainer.model.config.vocab_size, (args.batch_size, args.length))
    for _ in range(args.steps):
        trainer.step(ids, torch.ones_like(ids))
    seconds = trainer.seconds
    median = statistics.median(seconds[1:] or seconds)
    tokens = args.batch_size * args.length
    return {
        "seconds_per_step": median,
        "tokens_per_second": tokens / median,
        "losses": trainer.losses,
        "seconds": seconds,
    }


def texts_of(records, tokenizer):
    return [
        f"Instruction: {record['instruction']}\nQuestion: {record['input']}\nResponse: {record['output']}"
        + tokenizer.eos_token
        for record in records
    ]


def tokenizer_of(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    return tokenizer


def batches_of(texts, tokenizer, size, length, padding="longest"):
    for first in range(0, len(texts), size):
        batch = tokenizer(
            texts[first : first + size], padding=padding, truncation=True, max_length=length, return_tensors="pt"
        )
        yield batch.input_ids, batch.attention_mask


def time_records(args):
    """Batches of shuffled records, each padded to the limit or to its longest record; the first does not count."""
    tokenizer = tokenizer_of(args.model)
    records = json.loads(Path(args.data).read_text(encoding="utf-8"))
    random.Random(42).shuffle(records)
    texts = texts_of(records[: args.batch_size * args.steps], tokenizer)
    model = GPTNeoForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    trainer = Trainer(model, device=args.device)
    padding = {"limit": "max_length", "longest": "longest"}[args.padding]
    tokens = []
    for ids, mask in batches_of(texts, tokenizer, args.batch_size, args.length, padding):
        trainer.step(ids, mask)
        tokens.append(ids.numel())
    seconds = trainer.seconds
    counted = args.batch_size * (len(seconds) - 1)
    return {"records_per_second": counted / sum(seconds[1:]), "seconds": seconds, "tokens": tokens}


def time_generation(args):
    model = random_model(args.config, args.device).to(getattr(torch, args.dtype)).eval()
    model.generation_config.eos_token_id = None
    ids = torch.randint(0, model.config.vocab_size, (args.batch_size, args.prompt_length), device=args.device)
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
        wait(args.device)
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
    train.add_argument("--autocast", choices=["bfloat16", "float16"])
    train.add_argument("--target-modules", default="q_proj,v_proj")
    train.add_argument("--dora", action="store_true")
    records = commands.add_parser("records")
    records.add_argument("--model", required=True)
    records.add_argument("--data", required=True)
    records.add_argument("--padding", choices=["limit", "longest"], default="limit")
    records.add_argument("--batch-size", type=int, default=8)
    records.add_argument("--length", type=int, default=256)
    records.add_argument("--steps", type=int, default=8)
    generate = commands.add_parser("generate")
    generate.add_argument("--batch-size", type=int, default=1)
    generate.add_argument("--prompt-length", type=int, default=24)
    generate.add_argument("--max-new-tokens", type=int, default=128)
    generate.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    for command in (train, generate):
        command.add_argument("--config", required=True)
    for command in (train, records, generate):
        command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    report = {"train": time_training, "records": time_records, "generate": time_generation}[args.what](args)
    report |= peak_memory(args.device)
    report["torch"] = torch.__version__
    print(json.dumps(report))


if __name__ == "__main__":
    main()
