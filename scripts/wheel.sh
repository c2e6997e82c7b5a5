#!/usr/bin/env bash
# Builds the Python wheel that carries the program, installs it into a fresh virtual environment and runs it there.
#
#   scripts/wheel.sh [--profile release|dev] [--run]
#
# The wheel stays in target/wheels. --profile dev takes the program as the tests build it, which shows in less time that
# the wheel works. --run does the quick run with what was installed. Needs cargo, Python 3 with venv, and PyPI for maturin.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=release run=
while [ $# -gt 0 ]; do
    case $1 in
        --profile)
            profile=${2:?wheel.sh: --profile wants release or dev}
            shift 2
            ;;
        --run)
            run=yes
            shift
            ;;
        *)
            echo "wheel.sh: unknown flag $1; expected --profile or --run" >&2
            exit 2
            ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
wheels=$PWD/${CARGO_TARGET_DIR:-target}/wheels
[[ ${CARGO_TARGET_DIR:-} = /* ]] && wheels=$CARGO_TARGET_DIR/wheels
rm -f "$wheels"/gptneo_lora-*.whl
(cd scripts/wheel && "$work/build/bin/maturin" build --profile "$profile" --out "$wheels")

python3 -m venv "$work/fresh"
"$work/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheels"/gptneo_lora-*.whl
cd "$work"
program=$work/fresh/bin/gptneo-lora
version=$("$program" --version)
echo "installed: $version"
"$program" run --print-preset quick | grep -q '^\[model\]' || {
    echo "wheel.sh: the installed program does not print its preset" >&2
    exit 1
}
[ -z "$run" ] || "$program" run --output "$work/quick"
ls -l "$wheels"/gptneo_lora-*.whl
