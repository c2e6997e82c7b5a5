#!/usr/bin/env bash
# Measures gptneo-lora on this machine's GPU, beside PyTorch where python3 has it: everything that scripts/gpu-kit.sh put
# into this folder is unpacked, CUDA is looked for, and kit.py does the rest. Needs no network, cargo or Rust.
#
#   run.sh [--backend cuda|wgpu] [--quick] [--only STAGE,STAGE] [--precisions f32,f16,bf16] [--train 8x256,1x256,4x1024]
#          [--decode 1,8] [--minutes N] RESULTS
#
# RESULTS gets results.json and table.md, written anew after each stage, log.txt, and the kernels that were compiled.
# --precisions, --train and --decode say what is measured, where it is less than all. --quick takes a tiny model and sizes
# of its own in f32, whatever these say, and needs no GPU with --backend wgpu: software Vulkan will do. PYTHON names another
# python3.
set -euo pipefail
kit=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$(command -v python3)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Python unpacks: not every machine has xz.
for archive in programs headers kernels; do
    if [ -f "$kit/$archive.tar.xz" ]; then
        folder=$work
        if [ $archive != programs ]; then folder=$work/$archive; fi
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' \
            "$kit/$archive.tar.xz" "$folder"
    fi
done

# A folder with all the headers that kernels include: the variable's, the compiler's, the usual ones, those of Python's
# packages, and at last those that the kit brings.
has_headers() {
    local header
    for header in cuda_runtime.h cuda_fp16.h cuda_bf16.h mma.h crt/mma.h; do
        if [ ! -f "$1/include/$header" ]; then return 1; fi
    done
    [ -e "$1/include/cccl/cuda/barrier" ] || [ -e "$1/include/cuda/barrier" ]
}
# Where Python's packages are: the environment's or the machine's, and the user's own.
mapfile -t sites < <("$python" -c 'import site, sysconfig
folders = [sysconfig.get_path("purelib"), *site.getsitepackages(), site.getusersitepackages()]
print(*dict.fromkeys(folders), sep="\n")')
compiler=$(command -v nvcc || true)
[ -n "$compiler" ] && compiler=$(dirname "$(dirname "$(readlink -f "$compiler")")")
found=
for folder in "${CUDA_PATH:-}" "$compiler" "${compiler:+$compiler/targets/x86_64-linux}" /usr/local/cuda /opt/cuda \
    "${sites[@]/%//nvidia/cu13}" "${sites[@]/%//nvidia/cuda_runtime}" "$work/headers"; do
    if [ -z "$found" ] && [ -n "$folder" ] && has_headers "$folder"; then found=$folder; fi
done
if [ -n "$found" ]; then export CUDA_PATH=$found; fi

# NVRTC, and what the system's loader does not know of: for gptneo-lora alone, as PyTorch brings its own.
libraries=${LD_LIBRARY_PATH:-}
for folder in "${CUDA_PATH:+$CUDA_PATH/lib64}" "${CUDA_PATH:+$CUDA_PATH/lib}" "${sites[@]/%//nvidia/cu13/lib}" \
    "${sites[@]/%//nvidia/cuda_nvrtc/lib}" /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then libraries=$libraries:$folder; fi
done
export GPU_KIT_LIBRARIES=$libraries
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
"$python" "$kit/kit.py" --kit "$kit" --work "$work" --python "$python" "$@"
