"""The rivals of regrowth: the same fine-tuning without it, and plain pruning to the same final sparsity.

Plain pruning is done twice: trained as long as the regrown network in all (`equal_rival.py`), and only fine-tuned as long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import Pruners
from Models.checkpoint_reader import read_checkpoint
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.options.parts import Affects
from Utils.options.resolve import identity, without_late
from Utils.options.table import affecting
from Utils.options.types import DERIVED, Options
from Utils.regrowth.equal_rival import density_of, trained_like_the_start
from Utils.regrowth.finetune import epochs_in, finetune
from Utils.regrowth.origin import Origin
from Utils.regrowth.outputs import CONTROL, EQUAL, PLAIN
from Utils.regrowth.sources import stored_file
from Utils.regrowth.start import PrunedNetwork
from Utils.runs.cache import cache_entry, cache_path, precision_fact
from Utils.runs.stages import Stages
from Utils.training.masked_network import MaskedNetwork
from Utils.training.set_up import load_pruner

CACHE = "regrow-rivals"


def rivals(
    opened: PrunedNetwork, origin: Origin | None, stages: Stages, clock: Clock, steps: int, kept: int
) -> dict[str, dict[str, Any]]:
    """Make the rivals of a regrowth to `kept` weights in `steps` steps, or read those that another run made.

    They are the same for every allocation, selection and init. The one of equal epochs needs the `origin` of the start.
    """
    names = (CONTROL, PLAIN, EQUAL) if origin else (CONTROL, PLAIN)
    with cache_entry(rivals_path(opened.options, origin, opened.precision, kept, steps), *names) as entry:
        if entry.content is not None:
            return {name: entry.content[name] for name in names}
        made = {
            CONTROL: control(opened, stages, clock, steps),
            PLAIN: plain_pruning(opened, stages, clock, steps, kept),
        }
        if origin:
            made[EQUAL] = equal_pruning(opened, origin, stages, clock, steps, kept)
        entry.write(made)
        return made


def rivals_path(options: Options, origin: Origin | None, precision: Precision, kept: int, steps: int) -> Path | None:
    """Return the file with the rivals of a regrowth to `kept` weights in `steps` steps; None with `--no-save`.

    No file of a version without the rival of equal epochs has its name.
    """
    if options.no_save:
        return None
    chosen = identity(options)
    shared = {*affecting(Affects.RIVALS), *DERIVED}
    told = without_late(chosen, always=("deterministic",))
    facts = {name: value for name, value in told.items() if name in shared} | {"kept": kept, "steps": steps}
    facts |= {"files": [chosen["contents"].get(f) for f in (options.regrow_start, options.regrow_dense)]}
    if held := chosen["contents"].get(chosen["dataset"]):
        facts["images"] = held
    facts |= {"device": precision.device.type, "torch": torch.__version__, "threads": torch.get_num_threads()}
    facts |= precision_fact(options, precision) | {EQUAL: origin.facts() if origin else None}
    return cache_path(options.result_dir, CACHE, facts)


def control(opened: PrunedNetwork, stages: Stages, clock: Clock, steps: int) -> dict[str, Any]:
    """Fine-tune the start network as often and as long as the regrown one.

    Return the result of `finetune` for the last step.
    """
    opened.load(opened.state)
    return _fine_tuned(opened, stages, clock, "control", steps)


def plain_pruning(opened: PrunedNetwork, stages: Stages, clock: Clock, steps: int, kept: int) -> dict[str, Any]:
    """Prune the dense network to `kept` weights at once, and fine-tune it as often and as long.

    "method" in the result describes how the network was made.
    """
    made = stages.once("plain", lambda: _pruned(opened, kept))
    opened.load(made["model"])
    return _fine_tuned(opened, stages, clock, "plain", steps) | {"method": made["method"]}


def equal_pruning(
    opened: PrunedNetwork, origin: Origin, stages: Stages, clock: Clock, steps: int, kept: int
) -> dict[str, Any]:
    """Prune the dense network to `kept` weights, train it as the start network was, and fine-tune it as the regrown one.

    Beside the keys of `plain_pruning`, "before" is the number of its epochs before the fine-tuning.
    """
    trained = trained_like_the_start(opened, origin, stages, clock, kept)
    tuned = _fine_tuned(opened, stages, clock, "equal", steps)
    return tuned | {"rows": trained["rows"] + tuned["rows"], "before": epochs_in(trained["rows"]), "method": trained["method"]}


def _fine_tuned(opened: PrunedNetwork, stages: Stages, clock: Clock, name: str, steps: int) -> dict[str, Any]:
    epochs, rows, last = opened.options.regrow_finetune_epochs, [], {}
    for step in range(steps):
        last = finetune(opened, stages, clock, f"{name}-{step}", step, epochs)
        rows += last["rows"]
    return {"rows": rows, "model": last["model"]}


def _pruned(opened: PrunedNetwork, kept: int) -> dict[str, Any]:
    state, origin = _unpruned(opened)
    with torch.no_grad():
        for p in opened.prunables:
            p.mask.fill_(1)
    opened.load({name: tensor for name, tensor in state.items() if not name.endswith("_mask")})
    options = _pruning_options(opened)
    print(f"Plain pruning: {origin} with {options.pruner} to {kept} of {opened.size} weights.")
    torch.manual_seed(options.seed)
    subset = opened.data.scoring_subset(opened.data.num_classes * options.prune_dataset_ratio)
    network = MaskedNetwork(opened.model, opened.prunables, opened.data, opened.device, options, opened.precision, subset)
    network.prune(load_pruner(options), density_of(kept, opened.size), ablate=False)
    return {"model": opened.cloned_state(), "method": f"{options.pruner} of {origin}"}


def _unpruned(opened: PrunedNetwork) -> tuple[dict[str, torch.Tensor], str]:
    """Return the `state_dict` that plain pruning begins with, and its name in messages."""
    if opened.sources.dense_state is not None:
        return opened.sources.dense_state, "the dense network"
    if opened.options.run and (file := stored_file(Path(opened.options.run[0]))) is not None:
        return read_checkpoint(file).named_as(opened.model, str(file)).tensors, "the initial network"
    stored = {f"{name}.weight": values for name, values in (opened.sources.original or {}).items()}
    if not stored:
        print("NOTE: nothing is known of the pruned weights, plain pruning gives back zeros: --regrow-dense FILE has values")
    return opened.state | stored, "the stored values" if stored else "the start network, pruned weights zero"


def note_lost_method(opened: PrunedNetwork) -> None:
    """Print a note if the method of the run's own pruning is gone, before hours of work, and add it to those of `opened`."""
    saved = opened.saved
    if saved and saved.reads("prune") and saved.pruner not in Pruners.names():
        opened.notes.append(f"there is no method {saved.pruner} any more, which pruned the start network: plain pruning uses mag")
        print(f"NOTE: {opened.notes[-1]}")


def _pruning_options(opened: PrunedNetwork) -> Options:
    """Return the options of the run's own pruning; magnitude if it has none, moved its masks in training, or lost its method."""
    saved = opened.saved
    known = saved and saved.reads("prune") and saved.pruner != Pruners.DENSE and saved.pruner in Pruners.names()
    if known and Pruners.load(saved.pruner).growth is None:
        return saved
    return Options(experiment="prune", pruner="mag", model=opened.options.model, seed=opened.options.split_seed)
