#!/usr/bin/env python3
"""PyTorch's side of what `scripts/gpu-kit.sh` measures, several measurements a process, since it starts slowly.

    gpu.py adapter --model FOLDER --out FOLDER
    gpu.py curves  --model FOLDER --adapter FOLDER --data RECORDS.json --precisions f32,bf16,f16 [--steps 20]
    gpu.py speed   --config CONFIG.json --precisions f32,tf32,bf16,f16 --train 8x256,1x256 --decode 1,8 [--steps 12]

`curves` trains the adapter on the records in their order, without dropout, at a learning rate that falls from 2e-4 to
zero. `tf32` is f32 with products whose factors are rounded to TF32. Every measurement is a line of JSON on standard
output as soon as it is made, so that what was measured stands even where the process is ended.
"""

import argparse
import gc
import json
from argparse import Namespace
from pathlib import Path

import bench
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPTNeoForCausalLM

AUTOCAST = {"f32": None, "tf32": None, "bf16": "bfloat16", "f16": "float16"}
DTYPE = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def set_precision(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def tell(**measured):
    print(json.dumps(measured), flush=True)


def write_adapter(args):
    """An adapter whose B is not zero, so that all of it learns from the first step on."""
    model = GPTNeoForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    torch.manual_seed(1)
    lora = LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    peft = get_peft_model(model, lora)
    with torch.no_grad():
        for name, weight in peft.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.02)
    peft.save_pretrained(args.out)


def tell_curves(args):
    tokenizer = bench.tokenizer_of(args.model)
    records = json.loads(Path(args.data).read_text(encoding="utf-8"))[: args.batch_size * args.steps]
    texts = bench.texts_of(records, tokenizer)
    for precision in args.precisions.split(","):
        set_precision(precision)
        model = GPTNeoForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        trainer = bench.Trainer(
            model, AUTOCAST[precision], args.device, args.adapter, lambda done: max(0.0, 1.0 - done / args.steps)
        )
        for ids, mask in bench.batches_of(texts, tokenizer, args.batch_size, args.length):
            trainer.step(ids, mask)
        tell(what="curve", precision=precision, losses=trainer.losses, grad_norms=trainer.norms)
        del model, trainer
        gc.collect()


def measured(what, work, **named):
    """Runs one measurement; one that fails, for want of memory say, does not keep the others from being made."""
    bench.forget_peak(named["device"])
    try:
        report = work() | bench.peak_memory(named["device"])
        report.pop("losses", None)
    except RuntimeError as error:
        report = {"error": str(error).splitlines()[0]}
    tell(what=what, **named, **report)
    gc.collect()


def tell_speed(args):
    for precision in args.precisions.split(","):
        set_precision(precision)
        for shape in filter(None, args.train.split(",")):
            batch, length = map(int, shape.split("x"))
            asked = Namespace(
                config=args.config, device=args.device, batch_size=batch, length=length, steps=args.steps,
                autocast=AUTOCAST[precision], target_modules="q_proj,v_proj", dora=False,
            )
            measured("train", lambda: bench.time_training(asked), precision=precision, shape=shape, device=args.device)
    for precision in args.precisions.split(","):
        if precision not in DTYPE:
            continue
        set_precision(precision)
        for batch in filter(None, args.decode.split(",")):
            asked = Namespace(
                config=args.config, device=args.device, batch_size=int(batch), prompt_length=args.prompt_length,
                max_new_tokens=args.max_new_tokens, dtype=DTYPE[precision],
            )
            measured("decode", lambda: bench.time_generation(asked), precision=precision, batch=int(batch),
                     device=args.device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    adapter = commands.add_parser("adapter")
    adapter.add_argument("--out", required=True)
    curves = commands.add_parser("curves")
    curves.add_argument("--adapter", required=True)
    curves.add_argument("--data", required=True)
    curves.add_argument("--batch-size", type=int, default=8)
    curves.add_argument("--length", type=int, default=256)
    curves.add_argument("--steps", type=int, default=20)
    for command in (adapter, curves):
        command.add_argument("--model", required=True)
    speed = commands.add_parser("speed")
    speed.add_argument("--config", required=True)
    speed.add_argument("--train", default="8x256")
    speed.add_argument("--decode", default="1,8")
    speed.add_argument("--steps", type=int, default=12)
    speed.add_argument("--prompt-length", type=int, default=24)
    speed.add_argument("--max-new-tokens", type=int, default=128)
    for command in (curves, speed):
        command.add_argument("--precisions", default="f32,bf16,f16")
        command.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    args = parser.parse_args()
    {"adapter": write_adapter, "curves": tell_curves, "speed": tell_speed}[args.what](args)


if __name__ == "__main__":
    main()
