"""A study of one layer at a time: the gain from spending the budget in each layer, and its correlation with SSIM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from Utils.compute.clock import Clock
from Utils.regrowth.allocation import capacities
from Utils.regrowth.finetune import finetune
from Utils.regrowth.start import PrunedNetwork
from Utils.regrowth.step import scores_of, similarities, turn_on
from Utils.runs.stages import Stages
from Utils.training.loops import evaluate

SIGNIFICANT = 0.05
MEASURES = {"final": "final_improvement", "immediate": "immediate_improvement"}


def regrow_alone(opened: PrunedNetwork, stages: Stages, clock: Clock, name: str, count: int) -> dict[str, Any]:
    """Regrow `count` weights of the layer `name` in the start network, and fine-tune it.

    The result has the validation top-1 before the fine-tuning, and the state after it.
    """

    def work() -> dict[str, Any]:
        opened.load(opened.state)
        scores, notes = scores_of(opened, 0)
        turn_on(opened, {name: count}, scores, 0)
        return {"model": opened.cloned_state(), "notes": notes, "val_top1": _val_top1(opened)}

    grown = stages.once(f"grow-{name}", work)
    opened.load(grown["model"])
    epochs = opened.options.regrow_finetune_epochs
    return {"after": grown["val_top1"], "notes": grown["notes"], **finetune(opened, stages, clock, f"tune-{name}", 0, epochs)}


def study(opened: PrunedNetwork, stages: Stages, clock: Clock, budget: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a row for each layer with pruned weights, and the numbers of the start and the control.

    Every layer gets `budget` weights, or all its pruned ones if they are fewer (`equal` tells which). `immediate_improvement` is
    the validation accuracy after regrowing minus that of the start. `final_improvement` is the test accuracy after fine-tuning
    minus that of the start network fine-tuned as long.
    """
    opened.load(opened.state)
    ssim = stages.once("ssim", lambda: similarities(opened))
    caps = {name: c for name, c in capacities(opened.layers).items() if c}
    base = stages.once("base", lambda: {"val_top1": _val_top1(opened)})
    opened.load(opened.state)
    tuned = {"control": finetune(opened, stages, clock, "control", 0, opened.options.regrow_finetune_epochs)}
    for name, capacity in caps.items():
        tuned[name] = regrow_alone(opened, stages, clock, name, min(budget, capacity))
        if stages.last == f"tune-{name}":
            print(f"{name}: {min(budget, capacity)} weights, validation top-1 {tuned[name]['after']:.2f} % at once")
    tested = {name: _test(opened, clock, network) for name, network in tuned.items()}  # the test set is used after all choices
    opened.load(opened.state)
    facts = {"val_top1_start": base["val_top1"], "test_top1_start": _test_top1(opened),
             "val_top1_control": tested["control"][0], "test_top1_control": tested["control"][1]}  # fmt: skip
    rows = []
    for name, capacity in caps.items():
        count = min(budget, capacity)
        rows.append(
            {"layer": name, "size": opened.layers[name].mask.numel(), "ssim": ssim[name], "capacity": capacity, "regrown": count,
             "equal": count == budget, "sparsity": 1 - (opened.kept + count) / opened.size,
             "val_top1_after": tuned[name]["after"], "val_top1": tested[name][0], "test_top1": tested[name][1],
             "immediate_improvement": tuned[name]["after"] - base["val_top1"],
             "final_improvement": tested[name][1] - tested["control"][1]}
        )  # fmt: skip
    return pd.DataFrame(rows).astype({"ssim": float}), facts


def _test(opened: PrunedNetwork, clock: Clock, network: Mapping[str, Any]) -> tuple[float, float]:
    """Return validation and test accuracy of a network in percent."""
    opened.load(network["model"])
    with clock("eval"):
        return _val_top1(opened), _test_top1(opened)


def _val_top1(opened: PrunedNetwork) -> float:
    return evaluate(opened.model, opened.validation(), opened.precision)[1]


def _test_top1(opened: PrunedNetwork) -> float:
    return evaluate(opened.model, opened.data.test_batches(opened.options.test_batch_size), opened.precision)[1]


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Correlate SSIM with both improvements, by Pearson and by Spearman.

    Columns: improvement, layers, n, pearson, its p, spearman, its p. One set of rows covers all layers with an SSIM. The other
    covers only those that got the whole budget, as the others got fewer weights. Values are NaN below three layers, or without
    variation.
    """
    from scipy import stats

    rows = []
    for word, part in (("all", table), ("equal budget", table[table["equal"]])):
        part = part[part["ssim"].notna()]
        for measure, column in MEASURES.items():
            values = (math.nan,) * 4
            if len(part) >= 3 and part["ssim"].nunique() > 1 and part[column].nunique() > 1:
                pearson, spearman = stats.pearsonr(part["ssim"], part[column]), stats.spearmanr(part["ssim"], part[column])
                values = (pearson.statistic, pearson.pvalue, spearman.statistic, spearman.pvalue)
            row = dict(zip(("pearson", "pearson_p", "spearman", "spearman_p"), map(float, values), strict=True))
            rows.append({"improvement": measure, "layers": word, "n": len(part)} | row)
    return pd.DataFrame(rows)


def verdict(found: pd.DataFrame) -> str:
    """Say in one sentence whether a low SSIM goes with a large improvement."""
    row = found[(found["improvement"] == "final") & (found["layers"] == "equal budget")].iloc[0]
    if math.isnan(row["pearson"]):
        return f"no correlation can be computed over {row['n']} layers of equal budget"
    r, p = row["pearson"], row["pearson_p"]
    numbers = f"Pearson r {r:.3f}, p {p:.3g}, {row['n']} layers of equal budget"
    if p >= SIGNIFICANT:
        return f"SSIM does not predict the improvement ({numbers})"
    return f"SSIM predicts the improvement: {'the lower, the larger' if r < 0 else 'the higher, the larger'} ({numbers})"


def summary_of(table: pd.DataFrame) -> Sequence[str]:
    """Describe mean, deviation, extremes and the best layer."""
    final = table["final_improvement"]
    best = table.loc[final.idxmax()]
    ssim = "no SSIM" if math.isnan(best["ssim"]) else f"SSIM {best['ssim']:.3f}"
    spread = f"{final.std():.2f}" if len(final) > 1 else "-"
    return [
        f"improvement over the control: mean {final.mean():.2f}, std {spread}, {final.min():.2f} to {final.max():.2f} points",
        f"best layer: {best['layer']} ({best['final_improvement']:+.2f} points, {ssim})",
    ]
