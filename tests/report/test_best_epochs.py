"""Best epochs in reports: an epoch that was trained, also for runs whose summary has the row before training."""

from __future__ import annotations

import pandas as pd
from golden.make_folders import FOLDERS

from Utils.base.json_files import read_json
from Utils.report.best_epochs import levels_with_trained_best, trained_best
from Utils.report.report_run import read_run


def test_a_run_of_an_earlier_version_has_the_best_of_its_trained_epochs():
    folder = FOLDERS / "singleshot/grid/pruner=rand,compression=0.5,seed=1"
    saved, rows = read_json(folder / "summary.json"), pd.read_csv(folder / "post-train.csv")
    assert saved["best_epoch"] == 0 and len(rows) == 2
    found = read_run(folder).summary
    assert (found["best_epoch"], found["top1_best"]) == (1, rows["top1_accuracy"][1]) and found["top1_last"] == saved["top1_last"]


def test_only_a_row_before_training_is_replaced(tmp_path):
    rows = pd.DataFrame({"epoch": [0, 1, 2], "top1_accuracy": [90.0, 80.0, 70.0], "val_top1": [9.0, 1.0, 2.0]})
    rows.to_csv(tmp_path / "post-train.csv", index=False)
    wrong, right = {"top1_best": 90.0, "best_epoch": 0}, {"top1_best": 80.0, "best_epoch": 1}
    assert trained_best(tmp_path, wrong) == {"top1_best": 70.0, "best_epoch": 2} and trained_best(tmp_path, right) == right
    rows.assign(epoch=[3, 4, 5]).to_csv(tmp_path / "post-train.csv", index=False)
    rewound = {"top1_best": 90.0, "best_epoch": 3, "options": {"rewind_epoch": 3}}
    assert trained_best(tmp_path, rewound)["best_epoch"] == 5
    rows[:1].to_csv(tmp_path / "post-train.csv", index=False)
    assert trained_best(tmp_path, wrong) == wrong  # nothing was trained
    (tmp_path / "post-train.csv").write_text("epoch")
    assert trained_best(tmp_path, wrong) == wrong and trained_best(tmp_path / "none", wrong) == wrong
    assert trained_best(tmp_path, {"best_epoch": None}) == {"best_epoch": None}


def test_levels_too(tmp_path):
    before = pd.DataFrame({"epoch": [0, 1, 0, 1], "top1_accuracy": [9.0, 8.0, 5.0, 6.0], "level": [0, 0, 1, 1]})
    last = pd.DataFrame({"epoch": [0, 1], "top1_accuracy": [4.0, 3.0]})
    levels = pd.DataFrame({"level": [0, 1, 2], "top1_best": [9.0, 6.0, 4.0]})
    assert levels_with_trained_best(tmp_path, levels) is levels
    before.to_csv(tmp_path / "pre-train.csv", index=False)
    last.to_csv(tmp_path / "post-train.csv", index=False)
    assert levels_with_trained_best(tmp_path, levels)["top1_best"].tolist() == [8.0, 6.0, 3.0]
