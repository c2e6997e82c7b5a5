#!/usr/bin/env bash
# Makes a folder that measures gptneo-lora on a machine with a GPU and nothing else: the program, its GPU tests, their
# fixtures, a configuration, a vocabulary, records, and PyTorch's side. OUT/run.sh then needs no network and no Rust.
#
#   scripts/gpu-kit.sh [--features cuda] [--profile release] [--vocabulary DIR] [--headers DIR] [--kernels DIR]
#                      [--beside PROGRAM] OUT
#
# --vocabulary DIR has vocab.json and merges.txt of GPT-2, which are not ours to ship; without it a vocabulary is trained
# on our own flashcards. --headers DIR is a folder of CUDA that has include/, for machines without headers; --kernels DIR
# is a user's cache folder that has gptneo-lora/kernels, so that nothing is compiled twice. PROGRAM is another build,
# the one before a change say, that is timed beside the first. The folder stays under 56 MiB; an OUT that is there already
# is replaced where it is such a folder or empty, and left alone where it is anything else.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
most=$((56 * 1024 * 1024))

features=cuda profile=release vocabulary='' headers='' kernels='' beside='' out=''
while [ $# -gt 0 ]; do
    case $1 in
        --features | --profile | --vocabulary | --headers | --kernels | --beside)
            if [ $# -lt 2 ]; then echo "gpu-kit.sh: $1 wants a value" >&2; exit 2; fi
            name=${1#--}
            printf -v "$name" %s "$2"
            shift 2 ;;
        -*) echo "gpu-kit.sh: unknown flag $1" >&2; exit 2 ;;
        *) out=$1; shift ;;
    esac
done
if [ -z "$out" ]; then echo "gpu-kit.sh: name the folder to make" >&2; exit 2; fi
# Relative to where the script was called, not to the project.
for name in out vocabulary headers kernels beside; do
    case ${!name} in '' | /*) ;; *) printf -v "$name" %s "$PWD/${!name}" ;; esac
done
for file in ${vocabulary:+"$vocabulary/vocab.json" "$vocabulary/merges.txt"} \
    ${headers:+"$headers/include/cuda_runtime.h"} ${beside:+"$beside"}; do
    if [ ! -f "$file" ]; then echo "gpu-kit.sh: there is no $file" >&2; exit 2; fi
done
if [ -n "$kernels" ] && [ ! -d "$kernels/gptneo-lora/kernels" ]; then
    echo "gpu-kit.sh: there is no folder $kernels/gptneo-lora/kernels" >&2
    exit 2
fi
is_kit() { [ -f "$1/run.sh" ] && [ -f "$1/kit.py" ] && [ -d "$1/fixtures" ] && [ -d "$1/reference" ]; }
is_empty() { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; }
if [ -e "$out" ] && ! is_kit "$out" && ! is_empty "$out"; then
    echo "gpu-kit.sh: $out is there and is no folder that this script made: name another" >&2
    exit 2
fi

# Fast to build rather than fast by the last percent: what is measured waits for the GPU. Set CARGO_PROFILE_RELEASE_LTO
# and CARGO_PROFILE_RELEASE_CODEGEN_UNITS for the program as it is released.
export CARGO_PROFILE_RELEASE_LTO=${CARGO_PROFILE_RELEASE_LTO:-off}
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=${CARGO_PROFILE_RELEASE_CODEGEN_UNITS:-16} CARGO_PROFILE_RELEASE_STRIP=true
cd "$root"
built=$(cargo test --profile "$profile" --locked --features "$features" --test end_to_end --no-run --message-format json)
executables() { sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' <<<"$built"; }
program=$(executables | grep '/gptneo-lora$')
tests=$(executables | grep '/end_to_end-')

rm -rf "$out"
mkdir -p "$out/fixtures" "$out/reference" "$out/vocabulary"
cp scripts/gpu-kit/run.sh scripts/gpu-kit/*.py scripts/cuda-count.json "$out"
cp tests/reference/bench.py tests/reference/gpu.py "$out/reference"
cp -r tests/fixtures/records.json tests/fixtures/window tests/fixtures/adapter_qv "$out/fixtures"

# 160 of our own flashcards: twenty steps of eight.
records=$out/records.json
python3 - datasets/medical-flashcards/medical_flashcards.json "$records" <<'PYTHON'
import json
import sys

cards = json.load(open(sys.argv[1], encoding="utf-8"))
chosen = [{key: card[key] for key in ("instruction", "input", "output")} for card in cards[:160]]
json.dump(chosen, open(sys.argv[2], "w", encoding="utf-8"), ensure_ascii=False)
PYTHON

# The shape of GPT-Neo-125M, with the vocabulary at hand.
config() {
    cat <<JSON
{"model_type": "gpt_neo", "architectures": ["GPTNeoForCausalLM"], "hidden_size": 768, "num_layers": 12,
 "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256, "max_position_embeddings": 2048,
 "vocab_size": 50257, "activation_function": "gelu_new", "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
 "attention_dropout": 0, "embed_dropout": 0, "resid_dropout": 0, "bos_token_id": 50256, "eos_token_id": 50256}
JSON
}
config >"$out/config.json"
if [ -n "$vocabulary" ]; then
    cp "$vocabulary/vocab.json" "$vocabulary/merges.txt" "$out/vocabulary"
else
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    config | sed 's/"hidden_size": 768/"hidden_size": 12/' >"$made/config.json"
    "$program" init --config "$made/config.json" --train-tokenizer "$records" --vocab-size 2000 --backend flex \
        --output "$made/model"
    find "$made/model" -maxdepth 1 -type f ! -name '*.safetensors' ! -name config.json -exec cp {} "$out/vocabulary" \;
fi

# Programs are most of the folder, and compress to a third.
stage=$(mktemp -d)
cp "$program" "$stage/gptneo-lora"
cp "$tests" "$stage/end_to_end"
if [ -n "$beside" ]; then cp "$beside" "$stage/beside"; fi
strip "$stage"/*
tar -C "$stage" -cf - . | xz -T0 -6 >"$out/programs.tar.xz"
rm -rf "$stage"
if [ -n "$headers" ]; then tar -C "$headers" -cf - include | xz -T0 -6 >"$out/headers.tar.xz"; fi
if [ -n "$kernels" ]; then tar -C "$kernels" -cf - gptneo-lora/kernels | xz -T0 -6 >"$out/kernels.tar.xz"; fi

size=$(du -sb "$out" | cut -f 1)
if [ "$size" -gt "$most" ]; then
    echo "gpu-kit.sh: $out has $size bytes, more than the $most that it may have" >&2
    exit 1
fi
echo "$out: $((size / 1024 / 1024)) MiB; on the machine with the GPU: $out/run.sh RESULTS"
