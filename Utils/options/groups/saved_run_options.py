"""The options of experiments about saved runs, checkpoints and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import Pruners
from Utils.options.flags import COMPRESSION, COUNT, POSITIVE, integer, number
from Utils.options.option import option
from Utils.options.report_choices import ALL, LAYOUTS


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class SavedRunOptions:
    """The options of saved runs, checkpoints and traces."""

    trace: str | None = option("trace", "a trace of the PyTorch profiler, .json or .json.gz", file=True)
    step: int | None = option("trace", "number of the step in the trace; default: the last complete one", None, COUNT)
    run: Sequence[str] = option("run", "folders of saved runs", (), nargs="+", common=True)
    compare_precision: bool = option("time", "measure mixed beside full precision too, in turn", False, None, late=True)
    layer: Sequence[str] = option("histogram", "layers or blocks to draw alone, by name, or all", (), nargs="+")
    log_counts: bool = option("histogram", "logarithmic counts", False, None)
    bins: int = option("histogram", "bins of a layer's weights", 60, integer(1, 1000))
    layer_compression: float | None = option(
        "report", "compression whose layers and weights are shown; default: the middle one", None, COMPRESSION
    )
    layout: str | None = option(
        "report", "general, or assignment: the tasks of a course in its order; default: the preset's, else general", None,
        choices=LAYOUTS, late=True,
    )  # fmt: skip
    layer_method: Sequence[str] = option(
        "report", "methods whose layers and weights are shown, or all; default: snip, or the first", (), Pruners.spelt,
        choices=lambda: (*Pruners.names(), ALL), nargs="+", late=True,
    )  # fmt: skip
    checkpoint: str | None = option("checkpoint", "a checkpoint file, ours or with weight_orig and weight_mask")
    saliency_images: int = option("saliency", "training images of each class", 256, POSITIVE)
    saliency_batch_size: int = option("saliency", "images of one gradient", 64, POSITIVE)
    saliency_percentile: float = option(
        "saliency", "weights whose range over classes lies above this are biased", 90.0, number(0, below=100)
    )
