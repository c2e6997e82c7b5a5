#!/bin/bash
# Kills runs of a tiny model at random moments, from the first millisecond on, lets each go on, and compares what comes
# out with a run that nobody killed: the adapter must be the same, bit for bit.
#
#   scripts/kill-resume.sh [PROGRAM] [KILLS] [SEED]
#
# A run's folder that is there goes on with --resume, one that is not begins with the same command; a third of the runs
# are killed twice. Beside a run's folder nothing may be left.
set -euo pipefail
program=$(realpath "${1:-target/debug/gptneo-lora}")
kills=${2:-100}
RANDOM=${3:-1}
fixtures=$(realpath "$(dirname "$0")/../tests/fixtures")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The command that goes on in a folder that is there, or begins in one that is not. It becomes the program itself, so
# that a kill meets that.
go_on() { # FOLDER
    if [ -e "$1" ]; then
        exec "$program" train --quiet --resume --output "$1"
    fi
    exec "$program" train --quiet --model "$fixtures/window" --data "$fixtures/records.json" --output "$1" \
        --batch-size 4 --max-seq-length 48 --learning-rate 1e-3 --lora-r 4 --max-steps 10 --eval-steps 4 \
        --checkpoint-steps 3 --seed 3 --backend flex
}
now() { date +%s%N; }
sum() { sha256sum <"$1/adapter/adapter_model.safetensors"; }

began=$(now)
(go_on "$work/whole") >/dev/null 2>&1
taken=$(((($(now) - began)) / 1000)) # microseconds
expected=$(sum "$work/whole")
echo "a whole run takes $((taken / 1000)) ms"

absent=0 resumed=0 finished=0 failed=0
for number in $(seq "$kills"); do
    folder=$work/parent/run
    times=1
    [ $((number % 3)) -eq 0 ] && times=2
    for _ in $(seq $times); do
        delay=$(((RANDOM * 32768 + RANDOM) % taken))
        # Every fourth dies in its first moments.
        [ $((number % 4)) -eq 0 ] && delay=$((delay / 20))
        go_on "$folder" >/dev/null 2>"$work/said" &
        child=$!
        sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
        kill -KILL $child 2>/dev/null || finished=$((finished + 1))
        wait $child 2>/dev/null || true
    done
    if [ -e "$folder" ]; then resumed=$((resumed + 1)); else absent=$((absent + 1)); fi
    if ! (go_on "$folder") >/dev/null 2>"$work/said"; then
        failed=$((failed + 1))
        echo "run $number, killed after $delay µs, does not go on: $(tail -n 3 "$work/said")"
    elif [ "$(sum "$folder")" != "$expected" ]; then
        failed=$((failed + 1))
        echo "run $number, killed after $delay µs, comes to another adapter"
    elif [ "$(ls -A "$work/parent")" != run ] || [ -n "$(find "$folder" -name '*.partial')" ]; then
        failed=$((failed + 1))
        echo "run $number, killed after $delay µs, leaves something behind: $(find "$work/parent" -name '*.partial')"
    fi
    rm -rf "$work/parent"
done
echo "$kills runs killed: $absent before their folder was there, $resumed resumed ($finished kills came after the end);" \
    "$failed failed"
[ "$failed" -eq 0 ]
