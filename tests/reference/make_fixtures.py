#!/usr/bin/env python3
"""Write every fixture of the Rust tests: tiny models, adapters and what transformers, PEFT and PyTorch compute.

    make_fixtures.py --out tests/fixtures

Empties --out first. Needs the packages of requirements.txt and no network. Seeds are fixed and one thread is used, so
a second run on the same machine and versions gives the same bytes.
"""

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402  (the two settings above must come first)

import adapters  # noqa: E402
import arithmetic  # noqa: E402
import curves  # noqa: E402
import family  # noqa: E402
import layouts  # noqa: E402
import models  # noqa: E402
import scoring  # noqa: E402
import vocabulary  # noqa: E402
from files import write_json  # noqa: E402
from records import format_record, records  # noqa: E402
from transformers.utils import logging  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder to fill; what it holds is removed")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if out.exists():
        for entry in out.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    corpus = records()
    write_json(out / "records.json", corpus, indent=1)
    tokenizer = vocabulary.learn(corpus)
    texts = [format_record(r) for r in corpus] + vocabulary.AWKWARD
    write_json(out / "token_ids.json", {text: vocabulary.encode(tokenizer, text) for text in texts})
    models.write_models(out, tokenizer, corpus)
    layouts.write_layouts(out, vocabulary.encode(tokenizer, format_record(corpus[5])))
    family.write_family(out)
    adapters.write_adapters(out, tokenizer, corpus)
    curves.write_curves(out, tokenizer, corpus)
    scoring.write_perplexity(out, tokenizer, corpus)
    arithmetic.write_arithmetic(out)


if __name__ == "__main__":
    main()
