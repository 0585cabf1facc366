"""The end of a regrowth: it tests all networks, and writes the tables, the states and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from Models.reach import has_path
from Utils.compute.clock import Clock
from Utils.compute.environment import environment
from Utils.measure.counting import emptied_layers, totals
from Utils.options.types import Options
from Utils.regrowth import outputs
from Utils.regrowth.finetune import epochs_in
from Utils.regrowth.origin import Origin
from Utils.regrowth.start import PrunedNetwork
from Utils.runs.folder import RunFolder
from Utils.runs.printing import print_warnings
from Utils.runs.summary import LEARNT, class_frequency_loss, costs, study_summary
from Utils.training.loops import evaluate
from Utils.training.masked_network import Pruned

RIVALS = {"start": outputs.START, "control": outputs.CONTROL, "plain": outputs.PLAIN, "equal": outputs.EQUAL}  # in the summary
Networks = Mapping[str, Mapping[str, Any]]  # name -> "model", a `state_dict`, and "rows" of the fine-tuning if there was any


def test_networks(
    opened: PrunedNetwork, origin: Origin | None, clock: Clock, networks: Networks, steps: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Test each network, a row each; only this function uses the test set. The last network stays loaded.

    Without an `origin`, `total_epochs` is empty; `steps` are the results of `grow`.
    """
    options, precision, rows = opened.options, opened.precision, []
    for name, network in networks.items():
        opened.load(network["model"])
        with clock("eval"):
            val_loss, val_top1, _ = evaluate(opened.model, opened.validation(), precision)
            test_loss, top1, top5 = evaluate(opened.model, opened.data.test_batches(options.test_batch_size), precision)
        epochs = epochs_in(network.get("rows", ())) - network.get("before", 0)
        before = _epochs_before(opened, origin, name, network)
        rows.append(
            {"network": name, "sparsity": 1 - opened.kept / opened.size, "kept": opened.kept, "epochs": epochs,
             "total_epochs": None if before is None else before + epochs,
             "search_epochs": _search_epochs(opened.options, steps) if name == outputs.REGROWN else 0,
             "val_loss": val_loss, "val_top1": val_top1, "test_loss": test_loss, "test_top1": top1, "test_top5": top5}
        )  # fmt: skip
    return pd.DataFrame(rows).astype({"total_epochs": "Int64"})


def _epochs_before(opened: PrunedNetwork, origin: Origin | None, name: str, network: Mapping[str, Any]) -> int | None:
    """Return the epochs of a network before the fine-tuning; None if they are not known."""
    if origin is None:
        return None
    if name == outputs.EQUAL:
        return origin.dense_epochs + network["before"]
    if name != outputs.PLAIN:
        return origin.epochs
    dense = opened.options.regrow_dense  # if it is a network of its own, its epochs are not known
    return origin.dense_epochs if dense is None or Path(dense).resolve() == origin.file.resolve() else None


def _search_epochs(options: Options, steps: Sequence[Mapping[str, Any]]) -> int:
    """Count the epochs that the search of allocation `rl` trained: of all episodes of all steps."""
    return sum(len(step["search"]["history"]) for step in steps if step["search"]) * options.regrow_mini_epochs


def save_regrowth(
    opened: PrunedNetwork, folder: RunFolder, clock: Clock, networks: Networks, rows: pd.DataFrame,
    steps: Sequence[Mapping[str, Any]], asked: int,
) -> None:  # fmt: skip
    """Print the tables, write all files, and finish the folder; `asked` is the budget, `steps` are the results of `grow`."""
    from Utils.figures.regrowth import regrow_figure

    layers, method = outputs.layers_table(opened, steps), networks[outputs.PLAIN]["method"]
    equal = networks[outputs.EQUAL]["method"] if outputs.EQUAL in networks else None
    outputs.print_regrowth(rows, layers, method, equal)
    table = opened.compression_table(Pruned([p.mask for p in opened.prunables]))
    folder.write_table(outputs.ROWS, rows)
    folder.write_table(outputs.LAYERS, layers)
    folder.write_table(outputs.EPOCHS, outputs.epochs_table(networks))
    folder.write_table("compression.csv", table)
    if (episodes := outputs.search_table(steps)) is not None:
        folder.write_table(outputs.SEARCH, episodes)
    told = outputs.report_json(opened, steps, rows, asked, method, equal, environment(opened.device))
    folder.write_json(outputs.JSON, told)
    folder.write_state(outputs.MASKS, outputs.masks_file(opened, steps))
    folder.write_state("model.pt", opened.model.state_dict())
    how = "replayed" if opened.options.regrow_replay else opened.options.regrow_allocation
    title = f"Regrowth: {opened.options.model}, {opened.options.dataset}, {how}"
    folder.write_figure("regrow", regrow_figure(rows, layers, episodes, title))
    summary = _summary(opened, folder, clock, rows, table)
    print_warnings(summary)
    folder.finish(summary)
    if folder.saves:
        print(f"Saved: {folder.path}")


def _summary(opened: PrunedNetwork, folder: RunFolder, clock: Clock, rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Return the summary: the keys of other runs, and the accuracies of the networks that it is compared with."""
    by_name = rows.set_index("network")
    last = by_name.loc[outputs.REGROWN]
    numbers = {
        "density": opened.kept / opened.size,
        "collapsed": not has_path(opened.model, opened.prunables, opened.data.input_shape),
        "collapsed_layers": emptied_layers(table),
        "untrained": bool(not last["test_loss"] < LEARNT * class_frequency_loss(opened.data)),
        "top1_last": float(last["test_top1"]), "top5_last": float(last["test_top5"]),
        "test_loss_last": float(last["test_loss"]), "val_top1_last": float(last["val_top1"]),
        **{f"top1_{word}": float(by_name.loc[name, "test_top1"]) for word, name in RIVALS.items() if name in by_name.index},
        "total_epochs": None if pd.isna(last["total_epochs"]) else int(last["total_epochs"]),
        "search_epochs": int(last["search_epochs"]),
        "density_start": int(by_name.loc[outputs.START, "kept"]) / opened.size, "inference": {},
    }  # fmt: skip
    return study_summary(folder, totals(table) | numbers | costs(clock))
