"""The times that a run prints: ratios of calls that took turns first, their seconds after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORK = {"train": "a training step", "inference": "inference"}


def print_inference(times: Mapping[str, Any]) -> None:
    """Print the inference times of the network and of the dense one, if there are any."""
    if not times:
        return
    setting = f"batches of {times['batch_size']}, {times['device']}, {times['precision']}"
    compact = times.get("network") == "compact"
    kernels = "without dead units" if compact else "masks do not change dense kernels"
    print(f"Inference, {setting} ({kernels}){_conditions(times)}:")
    if times.get("ratio"):
        print(f"  {_spread(times['ratio'])} times as long as the dense network, in {times['repeats']} pairs of batches in turn")
    for name, prefix in (("this network", ""), ("dense", "dense_")):
        laps = times[f"{prefix}batch_seconds"]
        q1, median, q3 = (f"{1e3 * laps[key]:.3f}" for key in ("q1", "median", "q3"))
        middle = f"{median} ms a batch (quartiles {q1} and {q3} of {times['repeats']})"
        passes = f" (median of {times['total_repeats']})" if times.get("total_repeats", 1) > 1 else ""
        print(f"  {name}: {times[f'{prefix}total_seconds']:.4f} s for the test set{passes}, {middle}")


def print_precisions(found: Mapping[str, Any] | None) -> None:
    """Print how long a training step and inference take in mixed precision, beside full precision, if that was measured."""
    if not found:
        return
    print(f"Precision, {found['mixed']} beside {found['full']}, {found['device']}{_conditions(found)}:")
    for name, word in WORK.items():
        own = found[name]
        seconds = ", ".join(f"{1e3 * own[f'{kind}_seconds']['median']:.3f} ms {kind}" for kind in ("mixed", "full"))
        print(f"  {word}: {_spread(own['ratio'])} times as long, in {own['pairs']} pairs in turn; "
              f"{seconds} for a batch of {own['batch_size']}")  # fmt: skip


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.3f} (quartiles {ratio['q1']:.3f} and {ratio['q3']:.3f})"


def _conditions(times: Mapping[str, Any]) -> str:
    """Say how busy the machine was, as far as it is known."""
    jobs = f"; measured while up to {times['jobs']} cells ran at once, which disturbs it" if times.get("jobs") else ""
    load = [value for value in (times.get("load") or {}).values() if value is not None]
    return jobs + (f"; load average {load[0]:.2f}, then {load[-1]:.2f}" if load else "")
