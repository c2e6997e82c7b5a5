#!/usr/bin/env bash
# Builds for CUDA, tests on the GPU, and times training and generation beside PyTorch on the same GPU.
#
#   scripts/gpu.sh --reference DIR [--python PYTHON] [--output DIR] [--steps N] [--features cuda]
#
# DIR has bench_step.py, bench_generate.py and make_model.py; PYTHON has torch with CUDA, transformers and peft. Needs
# cargo, NVIDIA's driver and the CUDA toolkit (docs/backends.md). --features cuda,autotune builds with autotuning. The
# output folder keeps every log and table.md.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

reference='' python=python3 output=$root/target/gpu steps=200 features=cuda
while [ $# -gt 0 ]; do
    if [ $# -lt 2 ]; then echo "gpu.sh: $1 wants a value" >&2; exit 2; fi
    case $1 in
        --reference) reference=$2 ;;
        --python) python=$2 ;;
        --output) output=$2 ;;
        --steps) steps=$2 ;;
        --features) features=$2 ;;
        *) echo "gpu.sh: unknown flag $1" >&2; exit 2 ;;
    esac
    shift 2
done
for file in bench_step.py bench_generate.py make_model.py; do
    if [ ! -f "$reference/$file" ]; then
        echo "gpu.sh: there is no $file in '$reference': give --reference DIR" >&2
        exit 2
    fi
done
mkdir -p "$output"
output=$(cd "$output" && pwd)
reference=$(cd "$reference" && pwd)
cd "$root"

echo "== build and test"
cargo build --release --locked --features "$features"
program=target/release/gptneo-lora
"$program" devices | tee "$output/devices.txt"
GPTNEO_LORA_TEST_BACKEND=cuda cargo test --locked --features "$features" --test end_to_end gpu 2>&1 | tee "$output/tests.txt"

echo "== model of the real shape, random weights"
model=$output/model
if [ ! -f "$model/config.json" ]; then
    "$python" "$reference/make_model.py" --size 125m --out "$model"
fi

echo "== gptneo-lora"
for precision in f32 f16; do
    "$program" bench train --model "$model" --steps "$steps" --precision "$precision" --backend cuda --json |
        tee "$output/train-$precision.json"
done
for batch in 1 8; do
    "$program" bench generate --model "$model" --batch-size "$batch" --backend cuda --json |
        tee "$output/generate-$batch.json"
done
"$program" generate --model "$model" --prompt "What causes asthma?" --max-new-tokens 20 --ignore-eos --backend cuda \
    >"$output/generated.txt"

echo "== PyTorch"
for precision in f32 f16; do
    "$python" "$reference/bench_step.py" --size 125m --steps "$steps" --precision "$precision" --device cuda |
        tee "$output/torch-train-$precision.txt" | tail -1
done
for batch in 1 8; do
    "$python" "$reference/bench_generate.py" --model "$model" --batch "$batch" --device cuda |
        tee "$output/torch-generate-$batch.txt" | tail -1
done

# One number of a JSON file, and the number before a unit in the last line that has it.
field() { "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
unit() { grep -oE "[0-9.]+ $2" "$1" | tail -1 | cut -d ' ' -f 1; }
{
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
    echo
    echo "| | gptneo-lora | PyTorch |"
    echo "|---|---:|---:|"
    for precision in f32 f16; do
        echo "| training, $precision, s a step | $(field "$output/train-$precision.json" seconds_per_step)" \
            "| $(unit "$output/torch-train-$precision.txt" s/step) |"
    done
    for batch in 1 8; do
        echo "| generation, batch $batch, f32, tokens/s | $(field "$output/generate-$batch.json" tokens_per_second)" \
            "| $(unit "$output/torch-generate-$batch.txt" tokens/s) |"
    done
} | tee "$output/table.md"
