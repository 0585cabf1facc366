"""The studies of conservation through the command line, what they leave in their folders, and their figures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from Utils.base.csv_files import read_csv
from Utils.figures import conservation as figures

SMALL = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc"]
ALL = ["rand", "mag", "snip", "grasp", "synflow"]


def folder_of(experiment):
    (folder,) = Path("Results/data", experiment).iterdir()
    return folder


def check_study(command, experiment, words, files=()):
    """Run a study twice: what it writes, and that the second time prints the same; returns table, summary, output."""
    first, again = (command("--experiment", experiment, *words) for _ in range(2))
    assert first.status == again.status == 0, first
    folder = folder_of(experiment)
    names = {"args.json", "summary.json", *(f"{experiment}.{kind}" for kind in ("csv", "png", "pdf")), *files}
    assert {f.name for f in folder.iterdir()} - {".lock"} == names | {"manifest.json"}
    assert (folder / f"{experiment}.png").read_bytes()[:4] == b"\x89PNG"
    pdf = (folder / f"{experiment}.pdf").read_bytes()
    assert pdf[:4] == b"%PDF" and b"/Type3" not in pdf and b"/CreationDate" not in pdf
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done" and set(summary["files"]) == names - {"summary.json"}
    printed = first.out.replace(f"Results go to {Path.cwd() / 'Results/data'}\n", "")
    assert again.out.startswith(f"Already done: {folder}\n") and printed.endswith(again.out.partition("\n")[2])
    assert all(line in first.out for line in summary["findings"])
    return read_csv(folder / f"{experiment}.csv"), summary, first.out


def test_layer_conservation_of_all_methods(command):
    table, summary, _ = check_study(command, "layer-conservation", [*SMALL, "--pruner-list", *ALL])
    assert list(table.columns) == ["pruner", "module", "size", "inverse_size", "score_sum", "average_score"]
    assert list(table["pruner"].unique()) == ALL and table["module"].tolist()[:6] == [1, 3, 5, 7, 9, 11]
    assert table["size"].tolist()[:6] == [6400, 10000, 10000, 10000, 10000, 300]
    assert summary["slopes"]["synflow"] == pytest.approx(-1, abs=0.02) and abs(summary["slopes"]["mag"]) < 0.5
    assert set(summary["largest_deviation"]) == set(ALL)


def test_data_free_studies_need_no_data_and_say_why_totals_differ(command):
    words = ["--dataset", "cifar10", "--model", "resnet20", "--no-download", "--data-dir", "nowhere", "--pruner", "synflow"]
    _, _, out = check_study(command, "layer-conservation", words)
    assert "the layers are no simple chain, and parallel paths share the flow" in out
    table, summary, out = check_study(command, "unit-conservation", words)
    assert "9 pairs of resnet20's 22 layers" in out and summary["largest_difference"]["synflow"] < 1e-3
    assert list(table.columns) == ["pruner", "layer_in", "layer_out", "unit", "in_score", "out_score"] and len(table) == 336


def test_unit_conservation_counts_biases_that_are_scored(command):
    words = [*SMALL, "--pruner-list", *ALL, "--prune-bias"]
    table, summary, _ = check_study(command, "unit-conservation", words)
    assert len(table) == 5 * 500 and summary["largest_difference"]["synflow"] < 1e-3 < summary["largest_difference"]["mag"]


def test_scores_are_the_last_ones_of_the_loop(command):
    words = [*SMALL, "--pruner-list", "mag", "synflow", "--compression", "1", "--prune-epochs", "3", "--invert"]
    table, _, out = check_study(command, "layer-conservation", words)
    dense = command("--experiment", "layer-conservation", *SMALL, "--pruner-list", "mag", "synflow", "--no-save")
    assert "Scoring with synflow for 3 epochs to density 0.1" in out and "Scoring with synflow for 1 epochs" in dense.out
    assert table["score_sum"][0] < 0.8 * float(dense.out.split("mag      1  6400")[1].split()[1])
    assert not list(Path("Results/data/layer-conservation").glob("*c0*"))


def test_imp_conservation_trains_on_the_training_set(command):
    training = [*SMALL, "--post-epochs", "2", "--lr", "0.01", "--lr-drops", "1"]
    table, summary, out = check_study(command, "imp-conservation", training)
    assert list(table.columns) == ["epoch", "module", "size", "inverse_size", "average_score"]
    assert table["epoch"].tolist() == [0] * 6 + [1] * 6 + [2] * 6 and table["size"][0] == 6500
    assert set(summary["slopes"]) == {"0", "1", "2"} and f"top-1 {summary['top1_last']:.2f} %" in out
    same = command(*training, "--expid", "same")
    assert same.status == 0
    state = torch.load("Results/data/singleshot/same/model.pt", weights_only=True)
    squares = sum(float(state[f"11.{p}"].double().square().sum()) for p in ("weight", "bias"))
    assert table["average_score"].iloc[-1] == pytest.approx(squares / 303)


def test_a_training_that_diverges_says_so_in_its_folder(command):
    done = command("--experiment", "imp-conservation", *SMALL, "--lr", "1e30", "--optimizer", "sgd", "--post-epochs", "9")
    assert done.status == 1 and "diverged at epoch" in done.err
    assert json.loads((folder_of("imp-conservation") / "summary.json").read_text())["status"] == "failed"


def test_schedule_conservation_covers_every_schedule(command):
    words = ["--dataset", "cifar10", "--model", "conv", "--data-dir", "nowhere", "--no-download"]
    words += ["--compression-list", "0.5", "2", "--prune-epoch-list", "1", "4"]
    table, summary, _ = check_study(command, "schedule-conservation", words, ["schedule-rounds.csv"])
    assert list(table.columns) == ["schedule", "compression", "prune_epochs", "max_ratio", "collapsed"]
    keys = [("linear", c, n) for c in (0.5, 2) for n in (1, 4)] + [("exponential", c, n) for c in (0.5, 2) for n in (1, 4)]
    assert [tuple(row) for row in table[["schedule", "compression", "prune_epochs"]].to_numpy()] == keys
    assert (
        table["max_ratio"][0] == table["max_ratio"][4] > table["max_ratio"][5]
        and summary["max_ratio"] == table["max_ratio"].max()
    )
    rounds = read_csv(folder_of("schedule-conservation") / "schedule-rounds.csv")
    assert len(rounds) == 20 and rounds.columns.tolist()[3:] == ["round", "removed_score", "max_flow", "ratio"]


def test_what_cannot_be_studied_is_refused(refused, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\ndef net(input_shape, num_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n\n"
        "def broken(*sizes):\n    model = net(*sizes)\n    nn.init.constant_(model[1].weight, float('nan'))\n    return model\n"
    )
    data = ["--dataset", "synthetic:1x8x8:3:60", "--model"]
    refused(["--experiment", "unit-conservation", *data, "mine.py:net"], "mine.py:net", "consecutive layers", "fc")
    for words in (["layer-conservation", "--pruner", "synflow"], ["schedule-conservation"]):
        refused(["--experiment", *words, *data, "mine.py:broken"], "mine.py:broken cannot be scored", "synflow", "not finite")
    words = ["--experiment", "layer-conservation", *SMALL, "--compression", "1", "--pruner-list", "mag", "dense"]
    refused(words, "dense", "0.1")
    refused(["--experiment", "schedule-conservation", *SMALL, "--compression-list", "1", "30"], "--compression-list 30", "46700")


@pytest.mark.parametrize(("count", "value"), [(1, 0.0), (2, 1e-300), (4, 1.0)])
def test_figures_of_any_table_can_be_drawn(value, count, tmp_path):
    names = [f"p{i}" for i in range(count)]
    layers = pd.DataFrame({"size": 7, "average_score": value, "pruner": names, "epoch": range(count)})
    units = pd.DataFrame({"pruner": names, "layer_in": "a", "layer_out": "b", "in_score": value, "out_score": -value})
    cells = pd.DataFrame(
        {"schedule": "linear", "compression": range(count), "prune_epochs": 1, "max_ratio": value, "collapsed": value > 0}
    )
    for draw, table in ((figures.layer_figure, layers), (figures.training_figure, layers), (figures.unit_figure, units),
                        (figures.schedule_figure, cells)):  # fmt: skip
        draw(table, "title").savefig(tmp_path / "figure.png", format="png", dpi=20)
