#!/usr/bin/env bash
# Builds the fuzz targets with the stable compiler and gives each of them so many seconds, two at a time.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
#
# SECONDS is 20, TARGET all of them. Only this project's crates are built for it (fuzz/instrument): those under them are
# the ones that the tests have. What a target stops at lands in fuzz/artifacts/TARGET; then the exit code is 1. A corpus
# that grew while searching is kept in $FUZZ_CORPUS, if that names a folder. The search begins in the same place each time,
# so that it finds the same in CI as by hand; $FUZZ_SEED is another number to begin with, and 0 chance.
#
# Needs cargo, the package registry and a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
export SECONDS_EACH=${1:-20}
shift || true
command -v c++ >/dev/null || { echo "fuzz.sh needs a C++ compiler (g++), for libFuzzer" >&2; exit 1; }
if [ $# -eq 0 ]; then
    for target in fuzz/fuzz_targets/*.rs; do set -- "$@" "$(basename "$target" .rs)"; done
fi

began=$(date +%s)
bins=()
for target in "$@"; do bins+=(--bin "fuzz_$target"); done
RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/instrument" cargo build --locked --quiet -p gptneo-fuzz "${bins[@]}"
echo "built in $(($(date +%s) - began)) s"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export WORK BUILT="${CARGO_TARGET_DIR:-target}/debug"
search() {
    local grown=${FUZZ_CORPUS:-$WORK}/$1 found=fuzz/artifacts/$1 told
    mkdir -p "$grown" "$found" "$WORK/tmp-$1"
    if TMPDIR="$WORK/tmp-$1" "$BUILT/fuzz_$1" "$grown" "fuzz/corpus/$1" -seed="${FUZZ_SEED:-1}" \
        -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
        -artifact_prefix="$found/" -print_final_stats=1 >"$WORK/$1.log" 2>&1; then
        told=$(grep -E 'stat::(number_of_executed_units|peak_rss_mb)' "$WORK/$1.log" | sed 's/stat:://' | tr -s ' \n' ' ')
        echo "$1: $told"
    else
        echo "$1 stops:" && tail -n 40 "$WORK/$1.log"
        return 1
    fi
}
export -f search
printf '%s\n' "$@" | xargs -P 2 -I{} bash -c 'search {}' || { echo "fuzz targets stop: see above" >&2; exit 1; }
