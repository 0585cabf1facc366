"""The options of regrowth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from Utils.options.flags import COUNT, POSITIVE, SPARSITY, number
from Utils.options.option import Use, option
from Utils.options.parts import Affects

ALLOCATIONS = ("ssim", "uniform", "proportional", "greedy", "rl")
SELECTIONS = ("reference", "saliency", "gradient", "magnitude", "random")
INITS = ("zero", "reference", "kaiming", "original")
SEARCHED = Use("--regrow-allocation rl", lambda o: o.regrow_allocation == "rl" and not o.regrow_replay)
MINI = Use(f"{SEARCHED.by} and regrow-bench", lambda o: SEARCHED.tells(o) or o.reads("regrow bench"))
SCORED = Use(
    "--regrow-selection saliency or gradient", lambda o: o.regrow_selection in ("saliency", "gradient") and not o.regrow_replay
)
COMPARED = Use("regrowth with a dense network", lambda o: o.regrow_dense)
REFERRED = Use(
    "--regrow-selection reference, --regrow-init reference and regrow-bench",
    lambda o: "reference" in (o.regrow_init, None if o.regrow_replay else o.regrow_selection) or o.reads("regrow bench"),
)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class RegrowthOptions:
    """The options of regrowth."""

    regrow_to: float | None = option("regrow", "sparsity to regrow to", None, SPARSITY, affects=Affects.NAME | Affects.RESULT)
    regrow_fraction: float | None = option(
        "regrow",
        "the same as the share of all prunable weights that is regrown",
        None,
        number(above=0, high=1),
        affects=Affects.NAME | Affects.RESULT,
    )
    regrow_dense: str | None = option(
        "regrow", "the trained dense network, a file or a run's folder; default: the run's dense.pt", file=True
    )
    regrow_reference: str | None = option(
        "regrow",
        "a less sparse network, whose weights come first in selection reference",
        affects=Affects.NAME | Affects.RESULT,
        file=True,
        use=REFERRED,
    )
    regrow_layers: Sequence[str] = option(
        "regrow", "layers that are regrown, by name, or all", ("all",), nargs="+", affects=Affects.NAME | Affects.RESULT
    )
    regrow_ssim_batches: int = option(
        "regrow",
        "validation batches on which activations are compared",
        20,
        POSITIVE,
        affects=Affects.NAME | Affects.RESULT,
        use=COMPARED,
    )
    regrow_score_batches: int = option(
        "regrow",
        "training batches for saliencies and gradients",
        50,
        POSITIVE,
        affects=Affects.NAME | Affects.RESULT,
        use=SCORED,
    )
    regrow_selection: str = option(
        "regrow choice",
        "which weights of a layer come back",
        "saliency",
        choices=SELECTIONS,
        affects=Affects.NAME | Affects.RESULT,
    )
    regrow_init: str = option("regrow choice", "what they are then", "zero", choices=INITS, affects=Affects.NAME | Affects.RESULT)
    regrow_finetune_epochs: int = option(
        "regrow choice", "epochs of fine-tuning after each step, also of the rivals", 40, COUNT
    )
    regrow_bn_recalibrate: bool = option("regrow choice", "new BatchNorm statistics before fine-tuning", False, None)
    regrow_allocation: str = option(
        "regrow search", "how many each layer gets", "proportional", choices=ALLOCATIONS, affects=Affects.NAME | Affects.RESULT
    )
    regrow_steps: int = option("regrow search", "steps of regrowing and fine-tuning, the budget split evenly", 1, POSITIVE)
    regrow_episodes: int = option(
        "regrow search", "episodes of allocation rl", 100, POSITIVE, affects=Affects.NAME | Affects.RESULT, use=SEARCHED
    )
    regrow_replay: str | None = option(
        "regrow search", "regrow what is in this regrow_masks.pt", affects=Affects.NAME | Affects.RESULT, file=True
    )
    regrow_mini_epochs: int = option(
        "regrow mini", "epochs of fine-tuning in an episode", 1, COUNT, affects=Affects.NAME | Affects.RESULT, use=MINI
    )
    regrow_repeats: int = option("regrow bench", "times that each method is timed", 3, POSITIVE)
