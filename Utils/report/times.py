"""Times of runs: ratios of calls that took turns in one process, the machine's load, and seconds of equal work."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from Utils.options.table import table
from Utils.report.report_run import Run

APART = 1.2  # equal work whose longest time is more than this times its shortest: the machine was not equally free
ABOUT_TESTS = ("test_batch_size",)
LOAD = "Load average when they began and ended: {}."
NOT_COMPARED = "Seconds of different runs are not compared here."


def inference_ratio(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the ratio of a run's inference time to that of its own dense network: `median`, `q1` and `q3`.

    An earlier version did not record it; then it is the ratio of the two medians, which were measured in turn, without quartiles.
    """
    times = summary.get("inference") or {}
    if times.get("ratio"):
        return {name: times["ratio"].get(name) for name in ("median", "q1", "q3")}
    own, dense = ((times.get(f"{prefix}batch_seconds") or {}).get("median") for prefix in ("", "dense_"))
    return {"median": own / dense if own and dense else None, "q1": None, "q3": None}


def load_of(runs: Iterable[Run], *measured: str) -> str:
    """Say between which load averages the runs, and their later measurements under the keys `measured`, began and ended."""
    runs = [run for run in runs if run.done]
    found = [run.summary.get("load") for run in runs]
    found += [(run.summary.get(key) or {}).get("load") for run in runs for key in measured]
    loads = [load for own in found for load in (own or {}).values() if load is not None]
    cores = {run["machine"].get("cores") for run in runs if isinstance(run["machine"], Mapping)} - {None}
    if not loads:
        return ""
    low, high = f"{min(loads):.2f}", f"{max(loads):.2f}"
    text = low if low == high else f"{low} to {high}"
    return LOAD.format(f"{text} on {' or '.join(map(str, sorted(cores)))} cores" if cores else text)


def training_apart(runs: Iterable[Run]) -> list[str]:
    """Return a sentence for equal trainings whose seconds disagree, with the numbers; nothing if all agree."""
    return _apart(runs, _training_seconds, _training, "trainings of one network, of as many epochs in one precision,")


def inference_apart(runs: Iterable[Run]) -> list[str]:
    """Return a sentence for equal passes over the test set whose seconds disagree: those of the dense network beside each run."""
    return _apart(runs, _dense_seconds, _pass, "passes of the dense network over the test set, one beside each run,")


def _apart(
    runs: Iterable[Run], seconds: Callable[[Run], float | None], work: Callable[[Run], Hashable], words: str
) -> list[str]:
    found: dict[Hashable, list[float]] = {}
    for run in (r for r in runs if r.done):
        if own := seconds(run):
            found.setdefault(work(run), []).append(own)
    apart = [own for own in found.values() if max(own) > APART * min(own)]
    if not apart:
        return []
    own = max(apart, key=lambda times: max(times) / min(times))
    low, high = (f"{value:.4g}" for value in (min(own), max(own)))
    return [f"{NOT_COMPARED} Equal work took unequal time: {len(own)} {words} took between {low} and {high} s, "
            f"{max(own) / min(own):.2f} times as long. The machine was not equally free."]  # fmt: skip


def _training_seconds(run: Run) -> float | None:
    return (run.summary.get("seconds") or {}).get("post_train")


def _training(run: Run) -> Hashable:
    """Return all that the time of a training depends on, as far as the program decides it."""
    names = [o.name for o in table() if o.step_time and o.name not in ABOUT_TESTS] + ["post_epochs", "augment", "compact"]
    names_of_results = ("epochs_trained", "precision", "mask_updates", "params_compact", "stack", "compiled")
    done = [run.summary.get(name) for name in names_of_results]
    return tuple(str(value) for value in (*map(run.__getitem__, names), run["device"], *done))


def _dense_seconds(run: Run) -> float | None:
    return (run.summary.get("inference") or {}).get("dense_total_seconds")


def _pass(run: Run) -> Hashable:
    names = [o.name for o in table() if o.step_time and o.name not in ("optimizer", "train_batch_size", "test_batch_size")]
    times = run.summary["inference"]
    return tuple(str(value) for value in (*map(run.__getitem__, names), *map(times.get, ("batch_size", "device", "precision"))))


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the mean of ratios, in which a ratio and its inverse cancel."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
