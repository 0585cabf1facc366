"""The device and the precision that a run was made with, as its `args.json` records them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.compute.device import device_of
from Utils.compute.environment import environment
from Utils.compute.precision import FLOAT32, TEXTS, Precision
from Utils.options.types import Options

COMPUTED_IN = "computed_in"  # the precision of training and evaluation, as text


def made_on(options: Options, precision: Precision) -> dict[str, Any]:
    """Return the environment of a run, and its precision if it trains."""
    return environment(precision.device) | ({COMPUTED_IN: str(precision)} if options.reads("train") else {})


def went_on(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
    """Add to `args.json` (`saved`) that the run has another torch, device or number of threads `now`, and print a NOTE.

    Return None if nothing has changed.
    """
    before = [saved, *saved.get("continued", [])][-1]
    facts = [(what["device"], what["versions"]["torch"]) for what in (before, now)]
    if facts[0] == facts[1]:
        return None
    were, are = (f"{device}, torch {version}" for device, version in facts)
    print(f"NOTE: this run goes on with {are}; it was begun with {were}: its numbers may differ in the last digits")
    return {**saved, "continued": [*saved.get("continued", []), now]}


def recorded_precision(recorded: Mapping[str, Any]) -> str:
    """Return the text of the precision that a run computes in, from its `args.json`; float32 for one of an earlier version."""
    continued = recorded.get("continued")
    parts = [recorded, *(continued if isinstance(continued, list) else [])]
    texts = [part.get(COMPUTED_IN) for part in parts if isinstance(part, Mapping)]
    return next((text for text in reversed(texts) if text in TEXTS), FLOAT32)


def precision_begun(folder: Path) -> str | None:
    """Return the text of the precision in which the run in `folder` computes; None if no run was begun there."""
    return recorded_precision(read_json(folder / "args.json")) if (folder / "args.json").exists() else None


def note_other_precision(folder: Path, options: Options) -> None:
    """Print a NOTE if the same command would compute the finished run in `folder` in another precision now."""
    if options.quantization or not options.reads("train"):
        return
    with contextlib.suppress(Refused):  # a card that is not there is none of a finished run's business
        device, before = device_of(options), precision_begun(folder)
        for touch in (False, True):  # most runs are printed without asking the card
            now = str(Precision.of(options, device, touch=touch))
            if now == before:
                return
        print(f"NOTE: this run was computed in {before}; begun now, it would be computed in {now} (see --precision)")
