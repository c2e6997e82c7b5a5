#!/usr/bin/env python3
"""Compare two JSON files number by number, such as two fixtures or two outputs of check_outputs.py.

    compare.py LEFT.json RIGHT.json [--absolute 1e-4] [--relative 1e-4]

Numbers agree if they differ by at most absolute + relative * |right|; whole numbers, texts, keys and lengths must be
equal. Prints the largest difference of each top-level entry and the first places that disagree; exit status 1 if any.
"""

import argparse
import json
import sys

SHOWN = 20


def walk(left, right, path=""):
    """Pairs of leaves with their path; a difference of structure is given as a pair of descriptions."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(k for k in right if k not in left)]:
            here = f"{path}.{key}" if path else str(key)
            if key in left and key in right:
                yield from walk(left[key], right[key], here)
            else:
                yield here, *(("present", "absent") if key in left else ("absent", "present"))
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            yield path, f"{len(left)} entries", f"{len(right)} entries"
        for at, (a, b) in enumerate(zip(left, right)):
            yield from walk(a, b, f"{path}[{at}]")
    else:
        yield path, left, right


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("left")
    parser.add_argument("right")
    parser.add_argument("--absolute", type=float, default=1e-4)
    parser.add_argument("--relative", type=float, default=1e-4)
    args = parser.parse_args()
    with open(args.left, encoding="utf-8") as l, open(args.right, encoding="utf-8") as r:
        left, right = json.load(l), json.load(r)

    largest, wrong = {}, []
    for path, a, b in walk(left, right):
        top = path.split(".")[0].split("[")[0]
        if is_number(a) and is_number(b) and (isinstance(a, float) or isinstance(b, float)):
            gap = abs(a - b)
            largest[top] = max(largest.get(top, 0.0), gap)
            # Written so that a number which is not finite never agrees.
            agrees = gap <= args.absolute + args.relative * abs(b)
        else:
            agrees = a == b
        if not agrees:
            wrong.append(f"{path}: {a!r} and {b!r}")
    for top, gap in largest.items():
        print(f"{top}: largest difference {gap:.3g}")
    for line in wrong[:SHOWN]:
        print(line)
    if len(wrong) > SHOWN:
        print(f"... and {len(wrong) - SHOWN} more")
    print("differs" if wrong else "agrees")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
