"""The report as a user makes it: files, numbers, what is left out, what is escaped."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY

from Utils.runs.manifest import OwnFiles

NASTY = "<img src=x onerror=alert(1)> | `*b*` =cmd"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A grid of two methods, two compressions and two seeds, a traced run with a nasty name, its trace, and runs in mixed precision."""
    import main

    folder = tmp_path_factory.mktemp("runs")
    grid = ["--pruner-list", "snip", "mag", "--compression-list", "0.5", "3.2", "--seed-list", "1", "2", "--expid", "grid"]
    for words in (grid, ["--pruner", "mag", "--compression", "0.5", "--save-trace", "--expid", NASTY, "--lr", "0.01"],
                  ["--pruner", "snip", "--compression", "0.5", "--quantization", "--expid", "mixed"]):  # fmt: skip
        assert main.main([*TINY, *words, "--result-dir", str(folder)]) == 0
    trace = str(folder / "singleshot" / NASTY / "trace.json")
    assert main.main(["--experiment", "trace", "--trace", trace, "--expid", NASTY, "--result-dir", str(folder)]) == 0
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
def whole(runs, tmp_path_factory):
    """The report of all of `runs`: its folder, and what the command printed."""
    import main

    place, out = tmp_path_factory.mktemp("whole"), io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main.main(["--experiment", "report", "--run", str(runs), "--result-dir", str(place), "--expid", "r"]) == 0
    return place / "report" / "r", out.getvalue()


class Page(HTMLParser):
    """What a page holds: names of elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_whole_document(whole, runs):
    folder, printed = whole
    page, text = Page((folder / "report.html").read_text()), (folder / "report.md").read_text()
    machine = json.loads((runs / "singleshot" / "mixed" / "args.json").read_text())["machine"]
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    assert hardware in set(pd.read_csv(folder / "tables" / "environment.csv")["machine"])
    assert "Load averages of the machines, over a minute, when runs began and ended: from" in text
    for title in ("Environment", "Settings", "Accuracy", "Accuracy against compression", "Inference time", "FLOPs", "Training curves", "Layers",
                  "Weight histograms", "Trace of one inference step", "Mixed precision"):  # fmt: skip
        assert f"\n## {title}\n" in text and title in page.text, title
    assert "What is missing" in page.text and "Report: " in printed and "Missing: 3 seeds" in printed
    for kind, name in re.findall(r"\((figures|tables)/([^)]+)\)", text):
        assert (folder / kind / name).stat().st_size > 0
    pictures = {file.stem for file in (folder / "figures").glob("*.png")}
    assert pictures == {file.stem for file in (folder / "figures").glob("*.pdf")}
    assert sum(tag in ("svg", "img") for tag, _ in page.tags) == len(pictures)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done" and "report.html" in summary["files"] and summary["runs"] == 12


def test_numbers_are_those_of_the_runs(report, runs):
    folder, _ = report(runs / "singleshot" / "grid")
    (file,) = (folder / "tables").glob("accuracy-default*.csv")
    table = pd.read_csv(file).set_index(["pruner", "compression"])
    cells = [json.loads(f.read_text()) for f in (runs / "singleshot" / "grid").glob("*/summary.json")]
    for (pruner, compression), row in table.iterrows():
        own = [c["top1_last"] for c in cells if c["options"]["pruner"] == pruner and c["options"]["compression"] == compression]
        assert row["n"] == len(own) == 2 and row["mean"] == pytest.approx(sum(own) / 2)
        assert (row["min"], row["max"]) == (min(own), max(own))
    assert len(table) == 5
    (file,) = (folder / "tables").glob("flops-default*.csv")
    kept = next(c["flops_kept"] for c in cells if c["options"]["pruner"] == "snip" and c["options"]["compression"] == 0.5)
    assert pd.read_csv(file).set_index(["pruner", "compression"]).loc[("snip", 0.5), "mean"] == kept


def test_nothing_leaves_the_page_and_every_picture_is_described(whole):
    folder, _ = whole
    page = Page((folder / "report.html").read_text())
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
        if tag == "img":
            assert attributes["alt"]
        assert not any(name.startswith("on") for name in attributes)


def test_names_are_text_in_every_format(whole):
    folder, _ = whole
    text, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror" in text
    outside_code = "\n".join(line for line in markdown.splitlines() if not line.startswith("    "))
    assert "<img" not in outside_code and "`*b*`" not in outside_code


def test_made_again_it_follows_its_runs_and_leaves_nothing_stale(report, runs, tmp_path):
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


def test_another_set_of_runs_is_refused_under_the_same_name(whole, runs, refused, tmp_path):
    shutil.copytree(whole[0], tmp_path / "report" / "r")
    refused(["--experiment", "report", "--run", runs / "singleshot", "--result-dir", tmp_path, "--expid", "r"], "another run", "--overwrite")


def test_bad_folders_are_listed_and_left_out(report, runs, tmp_path):
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
        assert re.search(rf"- .*{re.escape(name.replace('-', chr(92) + '-'))}: ", text), name
    assert "Left out" in done.out and "1 finished run" in text


def test_an_empty_set_is_refused(refused, tmp_path):
    (tmp_path / "a").mkdir()
    refused(["--experiment", "report", "--run", "a", "b"], "no finished run in a, b")
    refused(["--experiment", "report"], "--run FOLDER")


@pytest.mark.parametrize("spoil", [
    {"post-train.csv": "epoch\n1\n"}, {"compression.csv": "a,b\n"}, {"model.pt": "x"}, {"trace.json": "{}"},
])  # fmt: skip
def test_a_spoilt_file_of_a_run_is_never_fatal(report, runs, tmp_path, spoil):
    """`summary.json` says what the files were; without its word for them, they are read as they are."""
    mine = tmp_path / "mine" / "run"
    shutil.copytree(runs / "singleshot" / NASTY, mine)
    summary = json.loads((mine / "summary.json").read_text())
    summary["files"] = {}
    del summary["checksum"]
    (mine / "summary.json").write_text(json.dumps(summary))
    for name, content in spoil.items():
        (mine / name).write_text(content)
    folder, _ = report(mine)
    assert "## Accuracy" in (folder / "report.md").read_text()


def test_layers_are_chosen(report, runs, refused, tmp_path):
    grid = runs / "singleshot" / "grid"
    folder, _ = report(grid, words=["--layer", "1", "--layer-compression", "3.2"])
    names = {file.stem for file in (folder / "figures").glob("weights-*.png")}
    assert {name for name in names if name.endswith("-1")} and "compression 3.2" in (folder / "report.md").read_text()
    refused(["--experiment", "report", "--run", grid, "--layer", "nope", "--result-dir", tmp_path / "x"], "--layer nope")


def test_regrown_networks_stand_beside_their_rivals_which_count_once(report, command, tmp_path):
    words = ["--result-dir", tmp_path / "more"]
    assert command(*TINY, "--pruner", "mag", "--pre-epochs", "1", "--sparsity", "0.9", "--expid", "start", *words).status == 0
    start = tmp_path / "more" / "singleshot" / "start"
    done = command("--experiment", "regrow", "--run", start, "--regrow-to", "0.8", "--regrow-finetune-epochs", "1", "--regrow-init", "zero",
                   "--regrow-allocation-list", "uniform", "proportional", "--expid", "more", *words)  # fmt: skip
    assert done.status == 0, done.err
    folder, _ = report(tmp_path / "more")
    table = pd.read_csv(next((folder / "tables").glob("regrowth-default*.csv"))).set_index("network")
    assert list(table.index) == ["start", "control", "plain pruning", "regrown, uniform, saliency, zero", "regrown, proportional, saliency, zero"]
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
