"""Runs that were made in different ways: never one sample, always named; and what sentences and captions may say of them."""

from __future__ import annotations

import shlex

import pytest
from reports import collection, made

from Utils.options.command_line import parse
from Utils.report import findings
from Utils.report.blocks import command_of
from Utils.report.groups import groups
from Utils.report.missing import missing
from Utils.report.pivot import statistics
from Utils.report.sections.accuracy import accuracy
from Utils.report.sections.tradeoff import tradeoff


def group_of(*runs):
    (group,) = groups(collection(*runs))
    return group


@pytest.mark.parametrize(
    ("option", "values"), [("lr_schedule", ("steps", "cosine")), ("prune_epochs", (5, 20)), ("save_trace", (True, False)),
                           ("mask_distribution", (None, "erk")), ("val_fraction", (0.0, 0.1))]
)  # fmt: skip
def test_no_mean_mixes_a_cell_that_was_made_in_two_ways(option, values):
    runs = [made("snip", seed=seed, top1=10.0 * index, **{option: value}) for index, value in enumerate(values) for seed in (1, 2)]
    tables = groups(collection(*runs))
    assert sorted(table.n() for table in tables) == ["n\u00a0=\u00a02"] * 2
    assert [statistics(table.table, "accuracy")["std"].item() for table in tables] == [0, 0]
    assert all(option.replace("_", " ") in table.label for table in tables)
    dense = groups(collection(*(made("dense", 0.0, post_epochs=epochs) for epochs in (10, 20))))
    assert [len(table.all) for table in dense] == [1, 1]


def test_the_dense_network_beside_a_table_is_one_of_the_nearest_recipe():
    dense = [made("dense", 0.0, seed=seed, post_epochs=epochs) for epochs in (20, 10) for seed in (1, 2)]
    (table,) = [g for g in groups(collection(made("snip"), *dense)) if g.runs]
    assert [run["post_epochs"] for run in table.dense] == [10, 10]


def test_every_option_that_changes_accuracy_is_warned_of_and_those_of_methods_are_not():
    different = group_of(made("snip", lr_schedule="cosine"), made("mag"), made("dense", 0.0, prune_batch_size=9)).differences
    assert different == ["lr schedule: steps for dense, mag; cosine for snip"]
    assert group_of(made("synflow", prune_epochs=100), made("mag", save_trace=True)).differences == []


def test_sentences_say_no_more_than_the_numbers():
    group = group_of(made("snip", summary={"untrained": True}), made("snip", seed=2), made("mag", summary={"collapsed": True}))
    collapsed, untrained = findings.doubtful(group)
    assert collapsed.endswith(": mag at compression 1.") and untrained.endswith(": snip at compression 1 (1 of 2).")
    there = {"inference": {"total_seconds": 5.0, "device": "cuda"}}
    (line,) = findings.inference(group_of(made("snip"), made("mag", summary=there)))
    assert "noise" not in line and "devices" in line


def test_a_method_whose_file_is_gone_and_captions_of_what_is_held_out():
    gone = made("my-method", val_fraction=0.1, patience=3)
    assert "--pruner my-method" in command_of(gone)
    assert "--model-class" not in command_of(made("mag", model="net.py:f", model_class="user"))
    (group,) = groups(collection(gone))
    assert "the epoch whose network is kept" in accuracy([group]).blocks[0].caption
    assert not any("flatter" in getattr(block, "caption", "") for block in tradeoff([group]).blocks)


def test_the_command_for_more_seeds_makes_every_method_in_its_own_way():
    runs = collection(made("snip"), made("mag", pre_epochs=200), made("synflow", prune_epochs=100), made("dense", 0.0))
    (item,) = [item for item in missing(runs, groups(runs), []) if "seeds" in item.what]
    assert "--pruner-list mag snip synflow" in item.command and item.command.endswith("--for mag:pre-epochs=200")
    assert "--pre-epochs" not in item.command
    parse(shlex.split(item.command)[2:])
