"""The rival of equal epochs: it is the run that prunes to the regrown sparsity, and the total epochs of all networks are counted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PROJECT
from killed import killed

from Utils.regrowth.outputs import CONTROL, EQUAL, PLAIN, REGROWN, START, print_saved_regrowth

DATA = ["--dataset", "synthetic:1x8x8:3:200", "--model", "fc", "--val-fraction", "0.2"]
LEVELS = ["--experiment", "multishot", "--pruner", "mag", "--level-list", "2"]
TUNE = ["--regrow-finetune-epochs", "1", "--regrow-to", "0.8", "--regrow-selection", "random"]


@pytest.fixture
def run(command):
    """A function that runs a command and returns its output."""

    def run(*words: object) -> str:
        done = command(*words)
        assert done.status == 0, done.err
        return done.out

    return run


def networks(name: str) -> pd.DataFrame:
    return pd.read_csv(Path("Results/data/regrow", name, "regrow.csv")).set_index("network")


def summary(*folder: str) -> dict:
    return json.loads(Path("Results/data", *folder, "summary.json").read_text())


@pytest.mark.parametrize("words", [
    pytest.param(["--pruner", "mag", "--pre-epochs", "1", "--optimizer", "momentum", "--lr", "0.05", "--train-batch-size", "32", "--weight-decay", "0.001",
     "--augment", "crop-flip", "--post-epochs", "3", "--lr-drops", "1", "--patience", "1"], id="recipe"),
    pytest.param(["--pruner", "snip", "--post-epochs", "1", "--shuffle", "--val-fraction", "0"], id="ablation", marks=pytest.mark.long),
    pytest.param(["--pruner", "set", "--post-epochs", "2", "--update-interval", "1"], id="moving masks", marks=pytest.mark.long),
    pytest.param([*LEVELS, "--pre-epochs", "2", "--rewind-epoch", "1", "--post-epochs", "2"], id="rewound"),
    pytest.param([*LEVELS, "--pre-epochs", "1", "--no-rewind", "--post-epochs", "1"], id="not rewound", marks=pytest.mark.long),
    pytest.param([*LEVELS, "--pre-epochs", "1", "--post-epochs", "1"], id="rewound to the start", marks=pytest.mark.long),
])  # fmt: skip
def test_before_the_fine_tuning_it_is_the_run_of_the_regrown_sparsity(run, words):
    """The start prunes 90 %; its rival is the command with 80 % instead, which this test runs itself."""
    run(*DATA, *words, "--sparsity", "0.9", "--expid", "start")
    run(*DATA, *words, "--sparsity", "0.8", "--expid", "target")
    start, target = (next(f.parent for f in Path("Results/data").glob(f"*shot/{name}/**/model.pt") if "dense" not in str(f)) for name in ("start", "target"))
    run("--experiment", "regrow", "--run", start, *TUNE, "--regrow-finetune-epochs", "0", "--expid", "r", *(["--val-fraction", "0.1"] if "snip" in words else []))
    rival, found = networks("r").loc[EQUAL], json.loads((target / "summary.json").read_text())
    assert [rival["test_top1"], rival["test_loss"]] == [found["top1_last"], found["test_loss_last"]]
    rows = [pd.read_csv(target / name) for name in ("pre-train.csv", "post-train.csv")]
    assert rival["total_epochs"] == sum(int(table["train_loss"].notna().sum()) for table in rows)
    own = pd.read_csv("Results/data/regrow/r/regrow-epochs.csv").query("network == @EQUAL")
    assert own["train_loss"].dropna().tolist()[-1] == rows[1]["train_loss"].tolist()[-1]


def test_all_networks_have_their_total_epochs(run):
    """2 dense and 3 sparse epochs of the start, 2 steps of 1 epoch of regrowth, and a search of 2 steps of 3 episodes."""
    run(*DATA, "--pruner", "mag", "--pre-epochs", "2", "--post-epochs", "3", "--sparsity", "0.9", "--expid", "s")
    words = ["--regrow-steps", "2", "--regrow-allocation", "rl", "--regrow-episodes", "3"]
    out = run("--experiment", "regrow", "--run", "Results/data/singleshot/s", *TUNE, *words, "--expid", "r")
    rows = networks("r")
    assert rows["total_epochs"].to_dict() == {START: 5, CONTROL: 7, PLAIN: 4, EQUAL: 7, REGROWN: 7}
    assert rows["epochs"].to_dict() == {START: 0, CONTROL: 2, PLAIN: 2, EQUAL: 2, REGROWN: 2}
    assert rows["search_epochs"].to_dict() == {START: 0, CONTROL: 0, PLAIN: 0, EQUAL: 0, REGROWN: 6}
    told = summary("regrow", "r")
    assert [told["total_epochs"], told["search_epochs"], told["top1_equal"]] == [7, 6, rows.loc[EQUAL, "test_top1"]]
    assert f"{EQUAL}: mag of the dense network, trained as the start network, then fine-tuned as long." in out
    again = run("--experiment", "regrow", "--run", "Results/data/singleshot/s", *TUNE, *words, "--expid", "r")
    assert out[out.index("Networks:") :].splitlines()[:9] == again[again.index("Networks:") :].splitlines()[:9]

    run("--experiment", "regrow", "--run", "Results/data/regrow/r", *TUNE, "--regrow-to", "0.7", "--regrow-dense", "Results/data/singleshot/s/initial.pt",
        "--expid", "further")  # fmt: skip
    further = networks("further")["total_epochs"]
    assert further.drop(PLAIN).to_dict() == {START: 7, CONTROL: 8, EQUAL: 8, REGROWN: 8} and pd.isna(further[PLAIN])


def test_a_foreign_start_has_no_rival_of_equal_epochs(run):
    run(*DATA, "--pruner", "mag", "--post-epochs", "0", "--sparsity", "0.9", "--expid", "s")
    shutil.copy("Results/data/singleshot/s/model.pt", "foreign.pt")
    out = run("--experiment", "regrow", *DATA[:4], "--checkpoint", "foreign.pt", *TUNE, "--expid", "r")
    note = "NOTE: the training of the start network cannot be repeated (foreign.pt is not of a run of this program): total_epochs is empty"
    assert out.count(note) == 1
    rows = networks("r")
    assert list(rows.index) == [START, CONTROL, PLAIN, REGROWN] and rows["total_epochs"].isna().all()
    told = summary("regrow", "r")
    assert told["total_epochs"] is None and "top1_equal" not in told and f"{EQUAL}:" not in out
    Path("Results/data/singleshot/s/initial.pt").unlink()
    out = run("--experiment", "regrow", "--run", "Results/data/singleshot/s", *TUNE, "--expid", "gone")
    assert "s/dense.pt is missing): total_epochs is empty" in out and EQUAL not in networks("gone").index


@pytest.mark.long
def test_a_kill_in_the_training_of_the_rival_changes_no_number(run):
    run(*DATA, "--pruner", "mag", "--post-epochs", "4", "--lr", "0.01", "--sparsity", "0.9", "--expid", "s")
    words = ["--experiment", "regrow", "--run", "Results/data/singleshot/s", *TUNE, "--checkpoint-every", "1", "--expid", "r"]
    run(*words, "--result-dir", "elsewhere")
    killed(words, 5)  # regrown, control, plain and two of the rival's four epochs
    run(*words)
    for name in ("regrow.csv", "regrow-layers.csv"):
        assert Path("elsewhere/regrow/r", name).read_bytes() == Path("Results/data/regrow/r", name).read_bytes()
    one, other = (torch.load(Path(place, "regrow/r/model.pt"), weights_only=True) for place in ("elsewhere", "Results/data"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_of_an_earlier_version_is_printed_under_the_present_names(capsys):
    print_saved_regrowth(PROJECT / "tests/golden/folders/regrow/regrown")
    out = capsys.readouterr().out
    assert f"{PLAIN}: synflow of the dense network, fine-tuned as long; it lacks the epochs" in out and EQUAL not in out
    assert re.search(f"{PLAIN} +0.500000 +96 ", out)
