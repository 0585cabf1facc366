"""Regrow: from a sparse network to a less sparse one, beside the same fine-tuning without it and plain pruning as far."""

from __future__ import annotations

import argparse
import contextlib
import io
from typing import Any

import pandas as pd
import torch

from Models.reach import has_path
from Utils.base.errors import Refused
from Utils.compute.clock import Clock
from Utils.compute.device import choose_device
from Utils.compute.environment import environment
from Utils.compute.precision import Precision
from Utils.measure.counting import compression_table, emptied_layers, totals
from Utils.regrowth import outputs
from Utils.regrowth.allocation import even_parts
from Utils.regrowth.controller import Settings
from Utils.regrowth.finetune import finetune
from Utils.regrowth.rivals import rivals
from Utils.regrowth.start import PrunedNetwork, budget, open_start
from Utils.regrowth.step import check_places, check_sources, grow, replay
from Utils.runs.checkpoint_reader import read_checkpoint
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import attempt
from Utils.runs.printing import print_warnings
from Utils.runs.stages import Stages
from Utils.runs.summary import LEARNT, class_frequency_loss, costs, study_summary
from Utils.training.network import Datasets
from Utils.training.phase import evaluate

Places = list[dict[str, torch.Tensor]]


def check(options: argparse.Namespace, datasets: Datasets) -> None:
    """Refuse what `run` would refuse; nothing is written or printed."""
    with contextlib.redirect_stdout(io.StringIO()):
        start = open_start(options, datasets)
    check_sources(start)
    if not options.regrow_replay:
        budget(start)


def run(options: argparse.Namespace, datasets: Datasets | None = None) -> None:
    """Regrow the network of `--run` or `--checkpoint`, or print what the finished folder holds.

    All choices are made on validation images; the test set is read once, when all networks are what they will be. A run that
    was killed goes on in the stage, epoch or episode it was in, to the same numbers.

    Raises:
        Refused: nothing was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    with RunFolder(options) as folder:
        if folder.finished:
            return outputs.print_saved_regrowth(folder.path)
        attempt(lambda: _run(options, folder, datasets or Datasets()), folder)


def _run(options: argparse.Namespace, folder: RunFolder, datasets: Datasets) -> None:
    clock = Clock(choose_device(options))
    with clock("data"):
        start = open_start(options, datasets)
    places = _replayed(start)
    counts = [sum(map(len, p.values())) for p in places] if places else even_parts(budget(start), options.regrow_steps)
    if not all(counts):
        raise Refused(f"--regrow-steps {options.regrow_steps}: there are {sum(counts)} weights to regrow")
    check_sources(start)
    stages = Stages(folder, options.checkpoint_every, clock)
    folder.begin(start.device)
    _announce(start, counts, places)
    tuned, steps = _regrown(start, stages, clock, counts, places)
    kept, spent = start.kept, sum(sum(step["allocation"].values()) for step in steps)
    networks = {outputs.START: {"model": start.state}}
    networks |= rivals(start, stages, clock, len(counts), kept)
    networks[outputs.REGROWN] = tuned
    rows = _measure(start, clock, networks)
    if not places and spent != sum(counts):
        raise AssertionError(f"{spent} weights were regrown, the budget is {sum(counts)}")
    _save(start, folder, clock, networks, rows, steps, sum(counts))


def _replayed(start: PrunedNetwork) -> Places:
    """The places that `--regrow-replay` names, step by step; empty without it."""
    options = start.options
    if not options.regrow_replay:
        return []
    found = outputs.read_places(read_checkpoint(options.regrow_replay).tensors)
    if not found:
        raise Refused(f"--regrow-replay {options.regrow_replay}: it says of no weight that it was regrown")
    for places in found:
        check_places(start, places)
    return found


def _announce(start: PrunedNetwork, counts: list[int], places: Places) -> None:
    options, kept = start.options, start.kept
    how = f"allocation {options.regrow_allocation}, selection {options.regrow_selection}"
    how = f"as {options.regrow_replay} says" if places else how
    print(
        f"Regrowing {sum(counts)} of {start.size} weights in {len(counts)} step{'s' * (len(counts) > 1)}, from sparsity "
        f"{1 - kept / start.size:.6g} to {1 - (kept + sum(counts)) / start.size:.6g}: {how}, init {options.regrow_init}; "
        f"{options.regrow_finetune_epochs} epochs after each step."
    )
    if options.regrow_allocation == "rl" and not places:
        print(f"Controller: {Settings().text()}, episodes {options.regrow_episodes}, mini-epochs {options.regrow_mini_epochs}.")


def _regrown(
    start: PrunedNetwork, stages: Stages, clock: Clock, counts: list[int], places: Places
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The network after the last step, with the rows of all fine-tuning, and what each step did; it is loaded afterwards."""
    steps, rows, tuned = [], [], {}
    for number, count in enumerate(counts):

        def work(number: int = number, count: int = count) -> dict[str, Any]:
            return replay(start, places[number], number) if places else grow(start, stages, clock, number, count)

        steps.append(stages.once(f"grow-{number}", work))
        start.load(steps[-1]["model"])
        tuned = finetune(start, stages, clock, f"regrown-{number}", number, start.options.regrow_finetune_epochs)
        rows += tuned["rows"]
    clock.seconds["prune"] = sum(sum(s["seconds"].values()) - s["seconds"].get("search", 0.0) for s in steps)
    return {"model": tuned["model"], "rows": rows}, steps


def _measure(start: PrunedNetwork, clock: Clock, networks: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """A row for each network: the test set is read here and nowhere else. The last one is loaded afterwards."""
    options, rows = start.options, []
    precision = Precision.of(options, start.device)
    for name, network in networks.items():
        start.load(network["model"])
        with clock("eval"):
            val_loss, val_top1, _ = evaluate(start.model, start.validation(), precision)
            test_loss, top1, top5 = evaluate(start.model, start.data.test_batches(options.test_batch_size), precision)
        epochs = sum(1 for row in network.get("rows", ()) if row[1] is not None)
        rows.append(
            {"network": name, "sparsity": 1 - start.kept / start.size, "kept": start.kept, "epochs": epochs, "val_loss": val_loss,
             "val_top1": val_top1, "test_loss": test_loss, "test_top1": top1, "test_top5": top5}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _save(
    start: PrunedNetwork, folder: RunFolder, clock: Clock, networks: dict[str, dict[str, Any]], rows: pd.DataFrame,
    steps: list[dict[str, Any]], asked: int,
) -> None:  # fmt: skip
    from Utils.figures.regrowth import regrow_figure

    layers, method = outputs.layers_table(start, steps), networks[outputs.PLAIN]["method"]
    outputs.print_regrowth(rows, layers, method)
    table = compression_table(start.model, start.prunables, [p.mask for p in start.prunables], start.data.input_shape)
    folder.write_table(outputs.ROWS, rows)
    folder.write_table(outputs.LAYERS, layers)
    folder.write_table(outputs.EPOCHS, outputs.epochs_table(networks))
    folder.write_table("compression.csv", table)
    if (episodes := outputs.search_table(steps)) is not None:
        folder.write_table(outputs.SEARCH, episodes)
    folder.write_json(outputs.JSON, outputs.report_json(start, steps, rows, asked, method, environment(start.device)))
    folder.write_state(outputs.MASKS, outputs.masks_file(start, steps))
    folder.write_state("model.pt", start.model.state_dict())
    how = "replayed" if start.options.regrow_replay else start.options.regrow_allocation
    title = f"Regrowth: {start.options.model}, {start.options.dataset}, {how}"
    folder.write_figure("regrow", regrow_figure(rows, layers, episodes, title))
    summary = _summary(start, folder, clock, rows, table)
    print_warnings(summary)
    folder.finish(summary)
    if folder.saves:
        print(f"Saved: {folder.path}")


def _summary(start: PrunedNetwork, folder: RunFolder, clock: Clock, rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """The keys of other runs, and the accuracies of the networks that it is compared with."""
    by_name = rows.set_index("network")
    last = by_name.loc[outputs.REGROWN]
    numbers = {
        "density": start.kept / start.size,
        "collapsed": not has_path(start.model, start.prunables, start.data.input_shape),
        "collapsed_layers": emptied_layers(table),
        "untrained": bool(not last["test_loss"] < LEARNT * class_frequency_loss(start.data)),
        "top1_last": float(last["test_top1"]), "top5_last": float(last["test_top5"]),
        "test_loss_last": float(last["test_loss"]), "val_top1_last": float(last["val_top1"]),
        "top1_start": float(by_name.loc[outputs.START, "test_top1"]),
        "top1_control": float(by_name.loc[outputs.CONTROL, "test_top1"]),
        "top1_plain": float(by_name.loc[outputs.PLAIN, "test_top1"]),
        "density_start": int(by_name.loc[outputs.START, "kept"]) / start.size, "inference": {},
    }  # fmt: skip
    return study_summary(folder, totals(table) | numbers | costs(clock))
