"""What the scripts of this folder begin with: libraries that stay offline and quiet, and checks that are counted.

Import it before torch, transformers and tokenizers, which read these settings once.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The scripts that make the fixtures.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))


class Checks:
    """Counts and prints."""

    def __init__(self):
        self.done = self.failed = 0

    def say(self, what, holds, detail=""):
        self.done += 1
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}{': ' if detail else ''}{detail}", flush=True)
