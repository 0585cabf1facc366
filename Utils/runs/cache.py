"""The rivals of regrowth are the same for every allocation, selection and init: whoever needs them first makes them for all."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from Utils.base.locks import Lock
from Utils.base.tensor_files import seal, unseal
from Utils.options.resolve import identity

CACHE = "regrow-rivals"
# What a rival does not depend on.
VARYING = (
    "regrow_allocation", "regrow_selection", "regrow_init", "regrow_reference", "regrow_layers", "regrow_replay", "regrow_to",
    "regrow_fraction", "regrow_ssim_batches", "regrow_score_batches", "regrow_episodes", "regrow_mini_epochs", "contents",
)  # fmt: skip


def rivals_path(options: argparse.Namespace, device: torch.device, kept: int, steps: int) -> Path | None:
    """Where the rivals of a regrowth to `kept` weights in `steps` steps are kept; None with `--no-save`."""
    if options.no_save:
        return None
    chosen = identity(options)
    facts = {k: v for k, v in chosen.items() if k not in VARYING} | {"kept": kept, "steps": steps}
    facts |= {"files": [chosen["contents"].get(f) for f in (options.regrow_start, options.regrow_dense)]}
    if held := chosen["contents"].get(chosen["dataset"]):
        facts["images"] = held
    facts |= {"device": device.type, "torch": torch.__version__, "threads": torch.get_num_threads()}
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    return Path(options.result_dir, CACHE, f"{key}.bin")


def shared(path: Path | None, names: Sequence[str], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in `path`, all of `names`, or what `make` makes, which is kept there then; a second process waits for the first."""
    if path is None:
        return make()
    if (done := unseal(path, *names)) is not None:
        return done
    lock = Lock(path.with_suffix(".lock"))
    lock.take()
    try:
        if (done := unseal(path, *names)) is None:
            done = make()
            seal(path, done)
    finally:
        lock.leave()
    return done
