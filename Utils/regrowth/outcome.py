"""The end of a regrowth: it tests all networks, and writes the tables, the states and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from Models.reach import has_path
from Utils.compute.clock import Clock
from Utils.compute.environment import environment
from Utils.measure.counting import emptied_layers, totals
from Utils.regrowth import outputs
from Utils.regrowth.start import PrunedNetwork
from Utils.runs.folder import RunFolder
from Utils.runs.printing import print_warnings
from Utils.runs.summary import LEARNT, class_frequency_loss, costs, study_summary
from Utils.training.loops import evaluate
from Utils.training.masked_network import Pruned

Networks = Mapping[str, Mapping[str, Any]]  # name -> "model", a `state_dict`, and "rows" of the fine-tuning if there was any


def test_networks(opened: PrunedNetwork, clock: Clock, networks: Networks) -> pd.DataFrame:
    """Test each network, a row each; only this function uses the test set. The last network stays loaded."""
    options, precision, rows = opened.options, opened.precision, []
    for name, network in networks.items():
        opened.load(network["model"])
        with clock("eval"):
            val_loss, val_top1, _ = evaluate(opened.model, opened.validation(), precision)
            test_loss, top1, top5 = evaluate(opened.model, opened.data.test_batches(options.test_batch_size), precision)
        epochs = sum(1 for row in network.get("rows", ()) if row[1] is not None)
        rows.append(
            {"network": name, "sparsity": 1 - opened.kept / opened.size, "kept": opened.kept, "epochs": epochs,
             "val_loss": val_loss, "val_top1": val_top1, "test_loss": test_loss, "test_top1": top1, "test_top5": top5}
        )  # fmt: skip
    return pd.DataFrame(rows)


def save_regrowth(
    opened: PrunedNetwork, folder: RunFolder, clock: Clock, networks: Networks, rows: pd.DataFrame,
    steps: Sequence[Mapping[str, Any]], asked: int,
) -> None:  # fmt: skip
    """Print the tables, write all files, and finish the folder; `asked` is the budget, `steps` are the results of `grow`."""
    from Utils.figures.regrowth import regrow_figure

    layers, method = outputs.layers_table(opened, steps), networks[outputs.PLAIN]["method"]
    outputs.print_regrowth(rows, layers, method)
    table = opened.compression_table(Pruned([p.mask for p in opened.prunables]))
    folder.write_table(outputs.ROWS, rows)
    folder.write_table(outputs.LAYERS, layers)
    folder.write_table(outputs.EPOCHS, outputs.epochs_table(networks))
    folder.write_table("compression.csv", table)
    if (episodes := outputs.search_table(steps)) is not None:
        folder.write_table(outputs.SEARCH, episodes)
    folder.write_json(outputs.JSON, outputs.report_json(opened, steps, rows, asked, method, environment(opened.device)))
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
        "top1_start": float(by_name.loc[outputs.START, "test_top1"]),
        "top1_control": float(by_name.loc[outputs.CONTROL, "test_top1"]),
        "top1_plain": float(by_name.loc[outputs.PLAIN, "test_top1"]),
        "density_start": int(by_name.loc[outputs.START, "kept"]) / opened.size, "inference": {},
    }  # fmt: skip
    return study_summary(folder, totals(table) | numbers | costs(clock))
