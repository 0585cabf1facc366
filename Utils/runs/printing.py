"""The tables that a run prints, in Synaptic-Flow's words; a saved run prints the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.base.json_files import read_json
from Utils.base.text import shown
from Utils.compute.processes import decided
from Utils.measure.counting import left_dense, uncounted, unused
from Utils.runs import summary_keys
from Utils.runs.printing_times import print_inference, print_precisions
from Utils.training.early_stopping import VALIDATION, kept_row

TRAIN_COLUMNS = ("train_loss", "test_loss", "top1_accuracy", "top5_accuracy")


def print_training(
    pre: pd.DataFrame, post: pd.DataFrame, patience: int | None = None, kept: tuple[int | None, int | None] = (None, None)
) -> None:
    """Print the rows at the start, before pruning, after pruning and at the end.

    With `--patience` each phase ends with the state that it keeps. `kept` holds the two epochs of these states, if recorded.
    """
    last_rows = [kept_row(rows, patience, epoch) for rows, epoch in zip((pre, post), kept, strict=True)]
    ends = [row.to_frame().T.astype({"epoch": int}) for row in last_rows]
    frames = [pre.head(1), ends[0], post.head(1), ends[1]]
    table = pd.concat(frames, keys=["Init.", "Pre-Prune", "Post-Prune", "Final"]).set_index("epoch", append=True).droplevel(1)
    columns = [*TRAIN_COLUMNS, *(c for c in VALIDATION if c in post)]
    print("Train results:\n", table[columns].astype(float).to_string(float_format="%.4f", na_rep="NaN"))
    if patience:
        last, epoch = int(post["epoch"].iloc[-1]), int(last_rows[1]["epoch"])
        print(f"The network is that of epoch {epoch} of the {last} trained, which has the best validation accuracy.")


def first_phase(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the dense training, without those of multishot's levels."""
    return rows[rows["level"] == 0] if "level" in rows else rows


def print_pruning(table: pd.DataFrame, sums: Mapping[str, Any]) -> None:
    """Print a row for every parameter tensor, without shortening the table, then the sums."""
    columns = [column for column in summary_keys.LAYER_COLUMNS if column.printed and column.name in table]
    formats = {column.name: f"{{:{column.format}}}".format for column in columns if column.format}
    print("Prune results:\n", table[[column.name for column in columns]].to_string(formatters=formats))
    for word, key in (("Parameter", "params"), ("FLOP", "flops")):
        kept, total = sums[f"{key}_kept"], sums[f"{key}_total"]
        print(f"{word} Sparsity: {kept}/{total} ({kept / total if total else 0:.4f})")
    if "explored" in sums:
        print(f"Masks: moved {sums['mask_updates']} times; {sums['explored']:.4f} of the weights were active at some time")
    print_effective(sums)
    if idle := unused(table):
        layers = ", ".join(f"{name} ({size} weights)" for name, size in idle.items())
        print("NOTE: no image passes through these layers on its way to the output, but their weights count as prunable; "
              f"the effective density leaves them out: {layers}; take them out of the network if nothing needs them")  # fmt: skip
    if missed := uncounted(table):
        print(f"NOTE: nothing that depends on the image is multiplied by the weights of these layers: {', '.join(missed)}")
    if shares := left_dense(table):
        layers = ", ".join(f"{name} ({100 * share:.2f} %)" for name, share in shares.items())
        print(
            f"NOTE: left dense, with their share of all weights: {layers}. A parametrization (weight_norm, spectral_norm, "
            "nn.utils.prune) or a function of the model computes with them, no layer that can be masked"
        )
    if "thop" in sums:
        print_thop(sums["thop"], sums["macs_total"])


def print_thop(found: Mapping[str, Any], macs: int) -> None:
    """Print thop's count (`Utils/measure/thop_count.py`) beside the `macs` counted here, and a line for each cause.

    The line names the layers, each with thop's count and, if it is not 0, the count here.
    """
    if "error" in found:
        return print(f"NOTE: thop cannot count this network: {found['error']}")
    print(f"MACs of the dense network for one image: {macs} here, {found['macs']} by thop {found['version']}")
    causes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found["differences"]:
        causes.setdefault((row["class"], row["reason"]), []).append(row)
    for (kind, reason), rows in causes.items():
        more = sum(row["macs_thop"] - row["macs"] for row in rows)
        layers = [f"{row['module']} {row['macs_thop']}" + (f" (here {row['macs']})" if row["macs"] else "") for row in rows]
        where = f": {', '.join(layers)}" if rows[0]["module"] or len(rows) > 1 else ""
        print(f"  {more:+} {kind}: {reason}{where}")
    if not causes:
        print("  thop counts the same in every layer")


def print_effective(sums: Mapping[str, Any]) -> None:
    """Print the share of weights and FLOPs that touch live units."""
    if sums.get("effective_density") is None:  # as in runs of earlier versions
        return
    flops, total = sums["flops_effective"], sums["flops_total"]
    of_flops = f", FLOPs {flops}/{total} ({flops / total:.4f})" if total else ""
    print(f"Effective (on a path from input to output): density {sums['effective_density']:.6f}{of_flops}")


def print_warnings(summary: Mapping[str, Any]) -> None:
    """Print a warning for each flag of the network that is set, for emptied layers, and for weights kept by position alone."""
    for key in (key for key in summary_keys.KEYS if key.warning and summary.get(key.name)):
        names = summary[key.name] if key.kind is summary_keys.LIST else ()
        print(f"WARNING: {key.warning.format(', '.join(map(str, names)))}")
    if found := summary.get("zero_scores"):
        layers = ", ".join(f"{name} {count}" for name, count in found["layers"].items())
        kept = f"the scores of {summary['kept_by_position']} kept weights are zero, as are those of pruned ones"
        print(f"WARNING: KEPT BY POSITION: {kept}, so that only their place decided: {layers}. {found['cause']}")


def print_levels(levels: pd.DataFrame) -> None:
    """Print the weights that every level of multishot kept, and the accuracy of the network trained with them."""
    table = levels.drop(columns=["density_asked", "test_loss_last"])
    print("Levels:\n", table.to_string(index=False, formatters={"density": "{:.6f}".format}, float_format="%.2f"))


def print_saved(folder: Path) -> None:
    """Print the tables of a finished run folder."""
    decided(lambda: _print_saved(folder))  # only the first process of a run needs the folder


def _print_saved(folder: Path) -> None:
    summary = read_json(folder / "summary.json")
    print(f"Already done: {shown(folder)}")
    if (folder / "post-train.csv").exists():
        patience = summary["options"].get("patience")
        pre, post = first_phase(read_named(folder / "pre-train.csv")), read_named(folder / "post-train.csv")
        print_training(pre, post, patience, _kept_epochs(summary, pre) if patience else (None, None))
    if (folder / "levels.csv").exists():
        print_levels(read_named(folder / "levels.csv"))
    print_pruning(read_named(folder / "compression.csv"), summary)
    print_inference(summary.get("inference", {}))
    print_precisions(summary.get("precision_pairs"))
    print_warnings(summary)


def _kept_epochs(summary: Mapping[str, Any], pre: pd.DataFrame) -> tuple[int | None, int | None]:
    """Return the epochs whose networks the two trainings of a run kept.

    An earlier version did not record that of the dense training. It counted the row before training as an epoch.
    """
    dense = summary.get("dense_kept_epoch", int(pre.loc[pre["val_top1"].idxmax(), "epoch"]))
    return dense, summary.get("kept_epoch")
