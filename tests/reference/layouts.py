"""The weights of `sharded` in layouts that PyTorch's pickles may have, and its logits with GELU in the other form."""

import torch
from files import write_json
from models import PROMPT_TOKENS, load, logits_of

# Positions whose logits are kept.
LAST = 3


def write_layouts(out, ids):
    """Write `layouts`: files that hold the same tensors otherwise, and what another activation gives."""
    folder = out / "layouts"
    folder.mkdir(parents=True)
    model = load(out / "sharded")
    plain = {key: value.clone() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    # What a converter leaves that transposes and does not copy.
    strided = {key: value.t().contiguous().t() if value.ndim == 2 else value for key, value in plain.items()}
    torch.save(strided, folder / "strided.bin")
    # All tensors as views of one storage, in the form from before PyTorch 1.6.
    flat = torch.cat([value.flatten() for value in plain.values()])
    pieces = flat.split([value.numel() for value in plain.values()])
    fused = {key: piece.view(value.shape) for (key, value), piece in zip(plain.items(), pieces)}
    torch.save(fused, folder / "fused-old-form.bin", _use_new_zipfile_serialization=False)
    for block in model.transformer.h:
        block.mlp.act = torch.nn.GELU()
    ids = ids[: PROMPT_TOKENS["sharded"]]
    write_json(folder / "gelu.json", {"input_ids": ids, "logits": logits_of(model, ids)[-LAST:]})
