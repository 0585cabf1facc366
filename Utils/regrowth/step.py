"""One step of regrowth: measure the network, allocate the budget, choose the weights, turn them on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from Utils.base.errors import Refused
from Utils.base.seeds import derive
from Utils.compute.clock import Clock
from Utils.options.types import Options
from Utils.regrowth.allocation import NEEDS_SSIM, allocate, capacities, ssim_order
from Utils.regrowth.finetune import short_accuracy
from Utils.regrowth.search import Found, search
from Utils.regrowth.selection import pruned_scores
from Utils.regrowth.ssim import layer_ssim
from Utils.regrowth.start import PrunedNetwork
from Utils.regrowth.turn_on import regrow_, revive_
from Utils.runs.stages import Stages


def similarities(opened: PrunedNetwork) -> dict[str, float | None]:
    """Return the SSIM of each layer between the dense network and this one on validation images; None if there is none."""
    if opened.dense is None:
        return dict.fromkeys(opened.layers)
    count = opened.options.regrow_ssim_batches
    return layer_ssim(opened.dense, opened.model, opened.validation(count), list(opened.layers), count)


def scores_of(opened: PrunedNetwork, step: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Compute the `pruned_scores` of `--regrow-selection` for the present network.

    Raises:
        Refused: the sources of the method are missing.
    """
    options = opened.options
    try:
        return pruned_scores(
            options.regrow_selection, opened.model, opened.layers, sources=opened.sources, dense_model=opened.dense,
            batches=opened.scoring(options.regrow_score_batches) if options.regrow_selection in ("saliency", "gradient") else (),
            seed=derive(options.seed, "regrow-scores", step),
        )  # fmt: skip
    except ValueError as error:
        raise Refused(f"--regrow-selection {options.regrow_selection}: {error}") from error


def check_sources(opened: PrunedNetwork) -> None:
    """Refuse an init, a selection or an allocation whose sources this start lacks, before a file is written."""
    options = opened.options
    init, selection, allocation = options.regrow_init, options.regrow_selection, options.regrow_allocation
    if init in ("reference", "original") and opened.sources.values(init) is None:
        raise Refused(f"--regrow-init {init}: {options.regrow_start} comes without these values; --regrow-dense FILE has some")
    if selection == "magnitude" and opened.sources.original is None:
        without = f"{options.regrow_start} comes without stored values; --regrow-dense FILE has some"
        raise Refused(f"--regrow-selection magnitude: {without}")
    if allocation in NEEDS_SSIM and all(s is None for s in similarities(opened).values()):
        raise Refused(f"--regrow-allocation {allocation}: no layer of --model {options.model} has maps of 3 x 3 to compare")


def check_places(opened: PrunedNetwork, places: Mapping[str, torch.Tensor]) -> None:
    """Refuse a `--regrow-replay` that names layers or weights which this network does not have."""
    word = f"--regrow-replay {opened.options.regrow_replay}"
    for name, at in places.items():
        if name not in opened.layers:
            raise Refused(f"{word} regrows {name}, which is no layer of this network")
        size = opened.layers[name].mask.numel()
        if at.is_floating_point() or at.dim() != 1 or (len(at) and not 0 <= int(at.min()) <= int(at.max()) < size):
            raise Refused(f"{word} does not fit {name}, which has {size} weights")


def grow(opened: PrunedNetwork, stages: Stages, clock: Clock, step: int, count: int) -> dict[str, Any]:
    """Turn on `count` weights in the present network of `opened`, by the options.

    Returns:
        "ssim", "capacity", "allocation" by layer, "places" (flat, int64, CPU), "notes", "seconds" of each part, "search" (None
        unless the allocation is `rl`), and "model", the `state_dict` afterwards.
    """
    options, seconds, base = opened.options, {}, opened.cloned_state()

    def timed(word: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds[word] = time.perf_counter() - began
        return result

    ssim = timed("ssim", lambda: similarities(opened))
    scores, notes = timed("scores", lambda: scores_of(opened, step))
    caps, found = capacities(opened.layers), None
    if options.regrow_allocation == "rl":
        found = timed("search", lambda: _search(opened, stages, clock, step, count, ssim, scores, base))
        allocation = {name: found.allocation[name] for name in caps}
        opened.load(base)
    else:
        allocation = allocate(options.regrow_allocation, count, caps, ssim)
    places = timed("regrow", lambda: turn_on(opened, allocation, scores, step))
    for note in notes:
        print(f"NOTE: {note}")
    return {
        "ssim": ssim, "capacity": caps, "allocation": allocation, "notes": notes, "seconds": seconds,
        "places": {name: at.cpu() for name, at in places.items()}, "search": None if found is None else vars(found),
        "model": opened.cloned_state(),
    }  # fmt: skip


def replay(opened: PrunedNetwork, places: Mapping[str, torch.Tensor], step: int) -> dict[str, Any]:
    """Turn on the weights that a saved regrowth turned on; those alive already do not change. The result is as of `grow`."""
    options = opened.options
    ssim, caps, notes = similarities(opened), capacities(opened.layers), []
    pruned = {}
    for name, at in places.items():
        mask = opened.layers[name].mask
        at = at.to(mask.device)
        pruned[name] = at[mask.reshape(-1)[at] == 0]
    asked, left = sum(map(len, places.values())), sum(map(len, pruned.values()))
    if left < asked:
        notes.append(f"{asked - left} of the {asked} weights of {options.regrow_replay} are alive already")
        print(f"NOTE: {notes[0]}")
    revive_(opened.layers, pruned, options.regrow_init, opened.sources.values(options.regrow_init), _seed(options, step))
    allocation = {name: len(pruned.get(name, ())) for name in caps}
    return {"ssim": ssim, "capacity": caps, "allocation": allocation, "notes": notes, "seconds": {}, "search": None,
            "places": {name: at.cpu() for name, at in pruned.items()}, "model": opened.cloned_state()}  # fmt: skip


def turn_on(
    opened: PrunedNetwork, allocation: Mapping[str, int], scores: Mapping[str, torch.Tensor], step: int
) -> dict[str, torch.Tensor]:
    """Call `regrow_` on the network of `opened` with `--regrow-init`; return layer -> flat places."""
    init = opened.options.regrow_init
    return regrow_(opened.layers, allocation, scores, init, opened.sources.values(init), _seed(opened.options, step))


def _seed(options: Options, step: int) -> int:
    return derive(options.seed, "regrow-init", step)


def _search(
    opened: PrunedNetwork, stages: Stages, clock: Clock, step: int, count: int, ssim: Mapping[str, float | None],
    scores: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor],
) -> Found:  # fmt: skip
    """Search for the allocation with the best validation accuracy after `--regrow-mini-epochs`; layers by rising SSIM."""
    options, caps = opened.options, capacities(opened.layers)
    order = {name: caps[name] for name in ssim_order(ssim)}

    def evaluate(allocation: Mapping[str, int]) -> float:
        opened.load(base)
        turn_on(opened, allocation, scores, step)
        return short_accuracy(opened, clock, step, options.regrow_mini_epochs)

    name = f"search-{step}"
    keep = stages.keeper(name)
    return search(
        order, count, evaluate, options.regrow_episodes, derive(options.seed, "regrow-controller", step),
        state=stages.half(name), after_episode=lambda state: keep(len(state()["found"]["history"]), state),
    )  # fmt: skip
