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


def similarities(start: PrunedNetwork) -> dict[str, float | None]:
    """Return the SSIM of each layer between the dense network and this one on validation images; None if there is none."""
    if start.dense is None:
        return dict.fromkeys(start.layers)
    count = start.options.regrow_ssim_batches
    return layer_ssim(start.dense, start.model, start.validation(count), list(start.layers), count)


def scores_of(start: PrunedNetwork, step: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Compute the `pruned_scores` of `--regrow-selection` for the present network.

    Raises:
        Refused: the sources of the method are missing.
    """
    options = start.options
    try:
        return pruned_scores(
            options.regrow_selection, start.model, start.layers, sources=start.sources, dense_model=start.dense,
            batches=start.scoring(options.regrow_score_batches) if options.regrow_selection in ("saliency", "gradient") else (),
            seed=derive(options.seed, "regrow-scores", step),
        )  # fmt: skip
    except ValueError as error:
        raise Refused(f"--regrow-selection {options.regrow_selection}: {error}") from error


def check_sources(start: PrunedNetwork) -> None:
    """Refuse an init, a selection or an allocation whose sources this start lacks, before a file is written."""
    options = start.options
    init, selection, allocation = options.regrow_init, options.regrow_selection, options.regrow_allocation
    if init in ("reference", "original") and start.sources.values(init) is None:
        raise Refused(f"--regrow-init {init}: {options.regrow_start} comes without these values; --regrow-dense FILE has some")
    if selection == "magnitude" and start.sources.original is None:
        without = f"{options.regrow_start} comes without stored values; --regrow-dense FILE has some"
        raise Refused(f"--regrow-selection magnitude: {without}")
    if allocation in NEEDS_SSIM and all(s is None for s in similarities(start).values()):
        raise Refused(f"--regrow-allocation {allocation}: no layer of --model {options.model} has maps of 3 x 3 to compare")


def check_places(start: PrunedNetwork, places: Mapping[str, torch.Tensor]) -> None:
    """Refuse a `--regrow-replay` that names layers or weights which this network does not have."""
    word = f"--regrow-replay {start.options.regrow_replay}"
    for name, at in places.items():
        if name not in start.layers:
            raise Refused(f"{word} regrows {name}, which is no layer of this network")
        size = start.layers[name].mask.numel()
        if at.is_floating_point() or at.dim() != 1 or (len(at) and not 0 <= int(at.min()) <= int(at.max()) < size):
            raise Refused(f"{word} does not fit {name}, which has {size} weights")


def grow(start: PrunedNetwork, stages: Stages, clock: Clock, step: int, count: int) -> dict[str, Any]:
    """Turn on `count` weights in the present network of `start`, by the options.

    Returns:
        "ssim", "capacity", "allocation" by layer, "places" (flat, int64, CPU), "notes", "seconds" of each part, "search" (None
        unless the allocation is `rl`), and "model", the `state_dict` afterwards.
    """
    options, seconds, base = start.options, {}, start.cloned_state()

    def timed(word: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds[word] = time.perf_counter() - began
        return result

    ssim = timed("ssim", lambda: similarities(start))
    scores, notes = timed("scores", lambda: scores_of(start, step))
    caps, found = capacities(start.layers), None
    if options.regrow_allocation == "rl":
        found = timed("search", lambda: _search(start, stages, clock, step, count, ssim, scores, base))
        allocation = {name: found.allocation[name] for name in caps}
        start.load(base)
    else:
        allocation = allocate(options.regrow_allocation, count, caps, ssim)
    places = timed("regrow", lambda: turn_on(start, allocation, scores, step))
    for note in notes:
        print(f"NOTE: {note}")
    return {
        "ssim": ssim, "capacity": caps, "allocation": allocation, "notes": notes, "seconds": seconds,
        "places": {name: at.cpu() for name, at in places.items()}, "search": None if found is None else vars(found),
        "model": start.cloned_state(),
    }  # fmt: skip


def replay(start: PrunedNetwork, places: Mapping[str, torch.Tensor], step: int) -> dict[str, Any]:
    """Turn on the weights that a saved regrowth turned on; those alive already do not change. The result is as of `grow`."""
    options = start.options
    ssim, caps, notes = similarities(start), capacities(start.layers), []
    pruned = {}
    for name, at in places.items():
        mask = start.layers[name].mask
        at = at.to(mask.device)
        pruned[name] = at[mask.reshape(-1)[at] == 0]
    asked, left = sum(map(len, places.values())), sum(map(len, pruned.values()))
    if left < asked:
        notes.append(f"{asked - left} of the {asked} weights of {options.regrow_replay} are alive already")
        print(f"NOTE: {notes[0]}")
    revive_(start.layers, pruned, options.regrow_init, start.sources.values(options.regrow_init), _seed(options, step))
    allocation = {name: len(pruned.get(name, ())) for name in caps}
    return {"ssim": ssim, "capacity": caps, "allocation": allocation, "notes": notes, "seconds": {}, "search": None,
            "places": {name: at.cpu() for name, at in pruned.items()}, "model": start.cloned_state()}  # fmt: skip


def turn_on(
    start: PrunedNetwork, allocation: Mapping[str, int], scores: Mapping[str, torch.Tensor], step: int
) -> dict[str, torch.Tensor]:
    """Call `regrow_` on the network of `start` with `--regrow-init`; return layer -> flat places."""
    init = start.options.regrow_init
    return regrow_(start.layers, allocation, scores, init, start.sources.values(init), _seed(start.options, step))


def _seed(options: Options, step: int) -> int:
    return derive(options.seed, "regrow-init", step)


def _search(
    start: PrunedNetwork, stages: Stages, clock: Clock, step: int, count: int, ssim: Mapping[str, float | None],
    scores: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor],
) -> Found:  # fmt: skip
    """Search for the allocation with the best validation accuracy after `--regrow-mini-epochs`; layers by rising SSIM."""
    options, caps = start.options, capacities(start.layers)
    order = {name: caps[name] for name in ssim_order(ssim)}

    def evaluate(allocation: Mapping[str, int]) -> float:
        start.load(base)
        turn_on(start, allocation, scores, step)
        return short_accuracy(start, clock, step, options.regrow_mini_epochs)

    name = f"search-{step}"
    keep = stages.keeper(name)
    return search(
        order, count, evaluate, options.regrow_episodes, derive(options.seed, "regrow-controller", step),
        state=stages.half(name), after_episode=lambda state: keep(len(state()["found"]["history"]), state),
    )  # fmt: skip
