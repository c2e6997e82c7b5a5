"""How fixtures are written: compact JSON with eight significant digits, so that a rerun gives the same bytes."""

import json
import math
from pathlib import Path

import torch

SIGNIFICANT_DIGITS = 8


def tidy(value):
    """A JSON-ready copy: tensors become nested lists and floats are cut to eight significant digits."""
    if isinstance(value, torch.Tensor):
        return tidy(value.detach().cpu().tolist())
    if isinstance(value, dict):
        return {str(k): tidy(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a fixture may not hold {value}")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def write_json(path, value, indent=None):
    """Write `value` to `path`; without `indent` on one line without spaces."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    separators = None if indent else (",", ":")
    text = json.dumps(tidy(value), ensure_ascii=False, indent=indent, separators=separators)
    path.write_text(text + "\n", encoding="utf-8")
