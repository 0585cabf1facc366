"""The section on regrowth: start networks apart, steps summed, distinct networks counted, no row dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from Utils.options.table import defaults
from Utils.regrowth.outputs import PLAIN
from Utils.report.blocks import Table, Warnings
from Utils.report.collect import Collection
from Utils.report.report_run import Run
from Utils.report.sections.regrowth import regrowth

OPTIONS = defaults("regrow") | {"experiment": "regrow", "model_class": "default", "model": "fc", "dataset": "mnist", "regrow_to": 0.98}


@pytest.fixture
def regrown(tmp_path):
    """A function that makes the folder of a regrowth, and the folder of its start if it is not there."""

    def make(start: str, top1: float, *, seed: int = 1, steps: tuple[int, ...] = (80,), pruner: str = "mag", of: int = 1, **options: object) -> Run:
        origin = tmp_path / start
        origin.mkdir(exist_ok=True)
        (origin / "args.json").write_text(json.dumps({"pruner": pruner, "compression": 2.0, "seed": of} | options.pop("made", {})))
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        values = {"start": 50.0 + of, "control": top1 - 2, "plain pruning": top1 - 1, "regrown": top1}
        rows = "".join(f"{name},0.9{8 + (name == 'start')},9,{value},{value}\n" for name, value in values.items())
        (folder / "regrow.csv").write_text("network,sparsity,kept,val_top1,test_top1\n" + rows)
        layers = "".join(f"{i + 1},0,{n},{100 - sum(steps[:i])},0.5\n{i + 1},1,{n // 2},50,\n" for i, n in enumerate(steps))
        (folder / "regrow-layers.csv").write_text("step,layer,allocated,capacity,ssim\n" + layers)
        own = {"regrow_start": str(origin / "model.pt"), "seed": seed, "split_seed": of, "regrow_steps": len(steps)}
        return Run(folder, OPTIONS | own | options, {}, "done")

    return make


def tables(*runs: Run) -> list[Table]:
    blocks = regrowth(Collection(regrown=list(runs))).blocks
    assert not [block for block in blocks if isinstance(block, Warnings)]
    return blocks


def numbers(table: Table) -> dict[str, tuple[float, int]]:
    """Network -> its mean test accuracy and n."""
    return {row["network"]: (row["test_top1_mean"], row["n"]) for row in table.data.to_dict("records")}


def test_networks_of_one_kind_are_pooled_over_seeds_and_others_have_tables_of_their_own(regrown):
    runs = [regrown(f"{pruner}-{seed}", top1, seed=seed, of=seed, pruner=pruner, regrow_allocation=choice)
            for pruner, seed, top1 in (("mag", 1, 90.0), ("mag", 2, 92.0), ("lamp", 1, 50.0)) for choice in ("uniform", "ssim")]  # fmt: skip
    mag, _, lamp, _ = tables(*runs)
    assert numbers(mag) == {"start": (51.5, 2), "control": (89.0, 2), PLAIN: (90.0, 2),
                            "regrown, uniform, saliency, zero": (91.0, 2), "regrown, ssim, saliency, zero": (91.0, 2)}  # fmt: skip
    assert numbers(lamp)["start"] == (51.0, 1) and numbers(lamp)["regrown, ssim, saliency, zero"] == (50.0, 1)
    assert "regrown from mag at compression 2 to sparsity 0.98" in mag.caption and "regrown from lamp" in lamp.caption and mag.name != lamp.name
    assert "regrown to sparsity 0.98" in tables(*runs[:4])[0].caption


def test_starts_of_one_method_that_were_trained_otherwise_are_apart(regrown):
    short, _, long, _ = tables(regrown("a", 80.0, made={"post_epochs": 1}), regrown("b", 90.0, made={"post_epochs": 9}))
    assert numbers(short)["start"][1] == numbers(long)["start"][1] == 1
    assert "regrown from mag at compression 2, post epochs 1 to" in short.caption and "post epochs 9" in long.caption


def test_the_layer_table_sums_over_the_steps(regrown):
    _, layers = tables(regrown("a", 80.0, steps=(86, 86, 86)), regrown("b", 80.0, of=2, seed=2, steps=(80, 84, 86)))
    assert layers.text["proportional, saliency, zero"].tolist() == ["254", "127"]  # (258 + 250) / 2
    assert layers.text["capacity"].tolist() == ["100", "50"] and layers.text["SSIM"].tolist() == ["0.500", "none"]


def test_one_network_with_two_seeds_of_regrowth_is_one_start(regrown):
    table, layers = tables(regrown("a", 80.0), regrown("a", 84.0, seed=2))
    assert numbers(table) == {"start": (51.0, 1), "control": (80.0, 2), PLAIN: (81.0, 2), "regrown, proportional, saliency, zero": (82.0, 2)}
    assert "from 1 start network." in table.caption and "over 2 regrowths" in layers.caption


def test_regrowths_that_differ_in_other_options_have_rows_or_tables_of_their_own(regrown):
    table, _ = tables(regrown("a", 80.0, regrow_layers=["0"]), regrown("a", 84.0, regrow_layers=["0", "1"]))
    rows = numbers(table)
    assert rows["regrown, proportional, saliency, zero, layers 0"] == (80.0, 1) and rows["regrown, proportional, saliency, zero, layers 0 1"] == (84.0, 1)
    small, _, large, _ = tables(regrown("a", 80.0, train_batch_size=8), regrown("a", 84.0, train_batch_size=16))
    assert small.name != large.name and "train batch size 8" in small.caption and numbers(large)["control"] == (82.0, 1)


def test_a_run_without_its_table_is_named(regrown):
    runs = [regrown("a", 80.0), regrown("a", 84.0, seed=2)]
    (runs[1].folder / "regrow.csv").write_text("network\nstart\n")
    (runs[1].folder / "regrow-layers.csv").unlink()
    table, _, warnings = regrowth(Collection(regrown=runs)).blocks
    assert numbers(table)["regrown, proportional, saliency, zero"] == (80.0, 1)
    rows, layers = warnings.lines
    assert f"{runs[1].folder / 'regrow.csv'} cannot be read" in rows and "no column kept" in rows and "regrow-layers.csv" in layers


def test_epochs_are_unknown_for_runs_of_earlier_versions_and_named_otherwise(regrown):
    """The folders of this file's other tests are those of an earlier version, whose plain pruning was only fine-tuned."""
    old, new = regrown("a", 80.0), regrown("b", 84.0, pruner="lamp")
    table = pd.read_csv(new.folder / "regrow.csv").replace({"plain pruning": PLAIN})
    rival = table[table["network"] == PLAIN].assign(network="plain pruning, equal epochs", test_top1=83.5)
    pd.concat([table, rival]).assign(total_epochs=[4, 5, 3, 5, 5], search_epochs=[0, 0, 0, 6, 0]).to_csv(new.folder / "regrow.csv", index=False)
    before, _, now, _ = tables(old, new)
    assert before.text["epochs in all"].tolist() == ["unknown"] * 4 and "none that was trained as long" in before.caption
    assert now.text["epochs in all"].tolist() == ["4", "5", "3", "5", "5"] and now.text["epochs of the search"].tolist() == ["0", "0", "0", "6", "0"]
    assert "'plain pruning, equal epochs' was trained as long as the regrown network" in now.caption and "search" not in "".join(before.text)


def test_a_twin_counts_once(regrown):
    found, run = Collection(), regrown("a", 80.0)
    for one in (run, Run(Path("/copy"), run.options, {}, "done")):
        found.sort_in(one)
    assert found.regrown == [run] and found.left_out == [(Path("/copy"), f"the same run as {run.folder}, which counts once")]
