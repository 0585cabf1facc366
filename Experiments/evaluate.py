"""Evaluate: test the networks of saved runs again."""

from __future__ import annotations

from pathlib import Path

from Utils.base.json_files import read_json
from Utils.base.text import shown
from Utils.options.types import Options
from Utils.runs.reopen import reopen
from Utils.runs.saved import on_saved_networks
from Utils.training.loops import evaluate

EXPERIMENT = {
    "summary": "test a saved run's model.pt again: --run FOLDER ...",
    "reads": ("saved networks",),
    "kind": "saved runs",
    "prints_alone": True,
}


def run(options: Options) -> None:
    """Print loss and accuracies of `model.pt` of each `--run FOLDER`, beside those in its summary.

    The folder of a grid stands for all its cells. Folders without a saved network are listed and left out.

    Raises:
        Refused: no folder holds a saved network that can be read.
        RunFailed: some cannot be read; the others are tested.
    """
    on_saved_networks(options.run, lambda folder: _evaluate(folder, options))


def _evaluate(folder: Path, options: Options) -> None:
    run = reopen(folder, options)
    tested = evaluate(run.model, run.data.test_batches(options.test_batch_size), run.precision)
    print(f"{shown(folder)}: {_text(*tested)}")
    before = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    loss, top1, top5 = (before.get(f"{name}_last") for name in ("test_loss", "top1", "top5"))
    if top1 is not None and top5 is not None:
        print(f"  when it was saved: {_text(loss, top1, top5)}")


def _text(loss: float | None, top1: float, top5: float) -> str:
    number = "nan" if loss is None else f"{loss:.6f}"
    return f"test loss {number}, top-1 {top1:.2f} %, top-5 {top5:.2f} %"
