"""Reports of other sets of runs: their numbers, made again, and whatever lies among the runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY, without_pictures
from reports import NASTY, train_runs

from Utils.report.document import compose
from Utils.runs.manifest import OwnFiles


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_runs(folder)
    return folder


@pytest.fixture
def report(command, tmp_path):
    """A function that makes a report of folders, and returns its folder and what was printed."""

    def make(*folders, words=()):
        done = command("--experiment", "report", "--run", *folders, "--result-dir", tmp_path, "--expid", "r", *words)
        assert done.status == 0, done.err
        return tmp_path / "report" / "r", done

    return make


@pytest.fixture(scope="module")
def of_grid(runs, tmp_path_factory):
    """The folder of a report of the grid, with one layer at one compression."""
    import main

    place = tmp_path_factory.mktemp("grid")
    words = ["--experiment", "report", "--run", str(runs / "singleshot" / "grid"), "--layer", "1", "--layer-compression", "3.2"]
    with without_pictures():
        assert main.main([*words, "--result-dir", str(place), "--expid", "r"]) == 0
    return place / "report" / "r"


def test_numbers_are_those_of_the_runs(of_grid, runs):
    (file,) = (of_grid / "tables").glob("accuracy-default*.csv")
    table = pd.read_csv(file).set_index(["pruner", "compression"])
    cells = [json.loads(f.read_text()) for f in (runs / "singleshot" / "grid").glob("*/summary.json")]
    for (pruner, compression), row in table.iterrows():
        own = [c["top1_last"] for c in cells if c["options"]["pruner"] == pruner and c["options"]["compression"] == compression]
        assert row["n"] == len(own) == 2 and row["mean"] == pytest.approx(sum(own) / 2)
        assert (row["min"], row["max"]) == (min(own), max(own))
    assert len(table) == 5
    (file,) = (of_grid / "tables").glob("flops-default*.csv")
    kept = next(c["flops_kept"] for c in cells if c["options"]["pruner"] == "snip" and c["options"]["compression"] == 0.5)
    assert pd.read_csv(file).set_index(["pruner", "compression"]).loc[("snip", 0.5), "mean"] == kept


def test_made_again_it_follows_its_runs_and_leaves_nothing_stale(report, runs, no_pictures, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(runs / "singleshot" / "mixed", mine / "one")
    folder, _ = report(mine)
    assert not list((folder / "figures").glob("timeline*"))
    first = (folder / "report.html").read_bytes()
    assert report(mine)[0] == folder and (folder / "report.html").read_bytes() == first
    stale = folder / "figures" / "old.png"
    stale.write_text("x")
    OwnFiles(folder).record(["figures/old.png"])
    shutil.copytree(runs / "singleshot" / "grid" / "pruner=mag,compression=0.5,seed=2", mine / "two")
    report(mine)
    assert not stale.exists() and (folder / "report.html").read_bytes() != first


def test_bad_folders_are_listed_and_left_out(report, runs, no_pictures, tmp_path):
    bad = tmp_path / "bad"
    good = bad / "good"
    shutil.copytree(runs / "singleshot" / "mixed", good)
    (bad / "empty").mkdir()
    for name, content in {"no-json": "{", "no-object": "[1]", "foreign": '{"experiment": "baking"}', "pending": '{"experiment": "singleshot"}'}.items():
        (bad / name).mkdir()
        (bad / name / "args.json").write_text(content)
    shutil.copytree(good, bad / "spoilt")
    (bad / "spoilt" / "compression.csv").write_text("x")
    shutil.copytree(good, bad / "twin")
    folder, done = report(bad, tmp_path / "nowhere")
    text = (folder / "report.md").read_text()
    for name, reason in {"no-json": "damaged", "no-object": "damaged", "foreign": "baking", "pending": "pending", "nowhere": "no such folder",
                         "twin": "counts once", "spoilt": "compression.csv is missing or damaged"}.items():  # fmt: skip
        assert re.search(rf"Left out: .*{name}: .*{reason}", done.out), name
        assert re.search(rf"- .*/{name}: ", text), name
    assert "Left out" in done.out and "1 finished run" in text


def test_an_empty_set_is_refused(refused, tmp_path):
    (tmp_path / "a").mkdir()
    refused(["--experiment", "report", "--run", "a", "b"], "no finished run in a, b")
    refused(["--experiment", "report"], "--run FOLDER")


@pytest.mark.parametrize("spoil", [
    {"post-train.csv": "epoch\n1\n"}, {"compression.csv": "a,b\n"}, {"model.pt": "x"}, {"trace.json": "{}"},
])  # fmt: skip
def test_a_spoilt_file_of_a_run_is_never_fatal(runs, tmp_path, spoil):
    """`summary.json` says what the files were; without its word for them, they are read as they are."""
    mine = tmp_path / "mine" / "run"
    shutil.copytree(runs / "singleshot" / NASTY, mine)
    summary = json.loads((mine / "summary.json").read_text())
    summary["files"] = {}
    del summary["checksum"]
    (mine / "summary.json").write_text(json.dumps(summary))
    for name, content in spoil.items():
        (mine / name).write_text(content)
    assert "Accuracy" in [section.title for section in compose([mine]).sections]


def test_layers_are_chosen(of_grid, runs, refused, tmp_path):
    names = {file.stem for file in (of_grid / "figures").glob("weights-*.png")}
    assert {name for name in names if name.endswith("-1")} and "compression 3.2" in (of_grid / "report.md").read_text()
    refused(["--experiment", "report", "--run", runs / "singleshot" / "grid", "--layer", "nope", "--result-dir", tmp_path / "x"], "--layer nope")


def test_regrown_networks_stand_beside_their_rivals_which_count_once(report, command, tmp_path):
    words = ["--result-dir", tmp_path / "more"]
    assert command(*TINY, "--pruner", "mag", "--pre-epochs", "1", "--sparsity", "0.9", "--expid", "start", *words).status == 0
    start = tmp_path / "more" / "singleshot" / "start"
    done = command("--experiment", "regrow", "--run", start, "--regrow-to", "0.8", "--regrow-finetune-epochs", "1", "--regrow-init", "zero",
                   "--regrow-allocation-list", "uniform", "proportional", "--expid", "more", *words)  # fmt: skip
    assert done.status == 0, done.err
    folder, _ = report(tmp_path / "more")
    table = pd.read_csv(next((folder / "tables").glob("regrowth-default*.csv"))).set_index("network")
    assert list(table.index) == ["start", "control", "plain pruning, fine-tuned only", "plain pruning, equal epochs", "regrown, uniform, saliency, zero", "regrown, proportional, saliency, zero"]
    assert table["total_epochs"].tolist() == [2, 3, 2, 3, 3, 3]
    assert (table["n"] == 1).all() and table.loc["start", "sparsity"] == pytest.approx(0.9, abs=1e-4)
    own = pd.read_csv(next((tmp_path / "more" / "regrow").glob("more/*uniform*/regrow.csv"))).set_index("network")
    assert table.loc["regrown, uniform, saliency, zero", "test_top1_mean"] == own.loc["regrown", "test_top1"]
    layers = pd.read_csv(next((folder / "tables").glob("regrowth-layers*.csv")))
    assert layers.groupby("choice")["allocated"].sum().nunique() == 1


def test_studies_traces_and_levels_have_sections(report, command, tmp_path):
    words = ["--result-dir", tmp_path / "more"]
    assert command("--experiment", "layer-conservation", "--model", "fc", "--pruner-list", "mag", "--expid", "study", *words).status == 0
    assert command(*TINY, "--experiment", "multishot", "--pruner", "mag", "--pre-epochs", "1", "--level-list", "2", "--compression", "1",
                   "--save-trace", "--expid", "levels", *words).status == 0  # fmt: skip
    trace = next((tmp_path / "more").rglob("trace.json"))
    assert command("--experiment", "trace", "--trace", trace, "--expid", "traced", *words).status == 0
    folder, _ = report(tmp_path / "more")
    text = (folder / "report.md").read_text()
    assert all(f"\n## {title}\n" in text for title in ("Studies", "Levels", "Trace of one inference step"))
    assert len(list((folder / "figures").glob("timeline*.png"))) == 2 + 1  # two networks of the grid, and the experiment's
    assert (folder / "figures" / "layer-conservation-study.pdf").is_file()
    assert Path(folder, "report.html").read_text().count("<img ") == 2
