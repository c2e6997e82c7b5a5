#!/usr/bin/env bash
# Compiles every kernel of a training step, an evaluation and a decoded token for two architectures, without a GPU, and
# counts what a step asks of one: launches, waits of the host, bytes read back. A driver that only counts stands in for
# NVIDIA's (tests/counting-driver), so the numbers that the program computes are garbage; the counts are not.
#
#   scripts/cuda-count.sh [--json] [--check] [--program PROGRAM] [--cuda DIR] [--kernels DIR]
#
# --check fails where a kernel does not compile or a count is over the recorded one (cuda-count.json beside this file).
# PROGRAM was built with --features counting-driver; without it, it is built. DIR has NVRTC and CUDA's headers; without
# it they are installed from the Python package registry into target/cuda. --kernels DIR keeps what was compiled there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

program='' cuda='' rest=()
while [ $# -gt 0 ]; do
    case $1 in
        --program | --cuda)
            if [ $# -lt 2 ]; then echo "cuda-count.sh: $1 wants a value" >&2; exit 2; fi
            printf -v "${1#--}" %s "$2"
            shift 2 ;;
        *) rest+=("$1"); shift ;;
    esac
done
target=${CARGO_TARGET_DIR:-$root/target}
if [ -z "$cuda" ]; then
    environment=$target/cuda
    # NVRTC compiles for sm_75 up to CUDA 13; a driver loads only what is not newer than itself.
    if [ ! -x "$environment/bin/pip" ]; then python3 -m venv "$environment" >&2; fi
    "$environment/bin/pip" install -q 'nvidia-cuda-nvrtc==13.0.*' 'nvidia-cuda-runtime==13.0.*' \
        'nvidia-cuda-crt==13.0.*' 'nvidia-cuda-cccl==13.0.*' >&2
    cuda=$(echo "$environment"/lib/python3*/site-packages/nvidia/cu13)
fi
cargo build --release --locked -p counting-driver >&2
if [ -z "$program" ]; then
    cargo build --locked --features counting-driver >&2
    program=$target/debug/gptneo-lora
fi
exec python3 "$root/scripts/cuda_count.py" --program "$program" --cuda "$cuda" \
    --driver "$target/release/libcounting_driver.so" ${rest[@]+"${rest[@]}"}
