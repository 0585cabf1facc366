"""Regrow: turn a sparse network into a less sparse one, and compare it with its rivals.

They are the same fine-tuning without regrowth, plain pruning to the same sparsity trained for as many epochs in all, and plain
pruning that is only fine-tuned.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from Utils.compute.clock import Clock
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.regrowth import outputs
from Utils.regrowth.finetune import finetune
from Utils.regrowth.origin import find_origin
from Utils.regrowth.outcome import save_regrowth, test_networks
from Utils.regrowth.plan import Plan, announce, make_plan
from Utils.regrowth.rivals import note_lost_method, rivals
from Utils.regrowth.start import PrunedNetwork, open_start, set_up_start
from Utils.regrowth.step import check_sources, grow, replay
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import once
from Utils.runs.stages import Stages

EXPERIMENT = {
    "summary": "give a saved sparse run, or a foreign --checkpoint, some of its pruned weights back, beside its rivals",
    "reads": (
        "regrowth", "regrow choice", "regrow search", "regrow mini", "checkpoints", "grid", "seed list", "regrow lists",
    ),
    "writes": (
        "regrow.{csv,png,pdf,json}", "regrow-layers.csv", "regrow-epochs.csv", "regrow-search.csv", "regrow_masks.pt",
        "compression.csv", "model.pt",
    ),
    "kind": "regrowth",
}  # fmt: skip


def check(options: Options, datasets: Datasets) -> None:
    """Refuse everything that `run` would refuse, without writing or printing."""
    opened = open_start(options, datasets, say=lambda line: None)
    make_plan(opened)
    check_sources(opened)


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Regrow the network of `--run` or `--checkpoint`, or print the results in the finished folder.

    All choices are made on validation images; the test set is read once, after all networks are final.

    Raises:
        Refused: no file was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    once(options, datasets, partial(_run, options), lambda folder: outputs.print_saved_regrowth(folder.path))


def _run(options: Options, folder: RunFolder, datasets: Datasets) -> None:
    """Open, plan, regrow step by step, make the rivals, test all networks, save."""
    opened, clock = set_up_start(options, datasets, folder.precision_on)
    plan = make_plan(opened)
    check_sources(opened)
    note_lost_method(opened)
    origin = find_origin(opened)
    stages = Stages(folder, options.checkpoint_every, clock)
    folder.begin(opened.device)
    announce(opened, plan)

    regrown, steps = _regrow(opened, stages, clock, plan)
    plan.check_spent(steps)
    networks = {
        outputs.START: {"model": opened.state},
        **rivals(opened, origin, stages, clock, len(steps), opened.kept),
        outputs.REGROWN: regrown,
    }
    rows = test_networks(opened, origin, clock, networks, steps)
    save_regrowth(opened, folder, clock, networks, rows, steps, plan.total)


def _regrow(opened: PrunedNetwork, stages: Stages, clock: Clock, plan: Plan) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Turn weights on and fine-tune, step by step; the regrown network stays loaded.

    Returns:
        "model", the `state_dict` after the last step, and "rows", those of all fine-tuning; and for each step the result of
        `grow`.
    """
    steps, rows = [], []
    for number, count in enumerate(plan.counts):

        def turn_on(number: int = number, count: int = count) -> dict[str, Any]:
            return replay(opened, plan.places[number], number) if plan.places else grow(opened, stages, clock, number, count)

        steps.append(stages.once(f"grow-{number}", turn_on))
        opened.load(steps[-1]["model"])
        tuned = finetune(opened, stages, clock, f"regrown-{number}", number, opened.options.regrow_finetune_epochs)
        rows += tuned["rows"]
    clock.seconds["prune"] = sum(sum(s["seconds"].values()) - s["seconds"].get("search", 0.0) for s in steps)
    return {"model": tuned["model"], "rows": rows}, steps
