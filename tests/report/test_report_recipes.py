"""Runs that were made in different ways: never one sample, always named; and what sentences and captions may say of them."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from reports import collection, made

from Utils.options.command_line import parse
from Utils.report import findings
from Utils.report.captions import described, recipe_and_n, rounds_in, with_rounds
from Utils.report.collect import Collection
from Utils.report.commands import command_of
from Utils.report.groups import groups
from Utils.report.missing import missing
from Utils.report.pivot import statistics
from Utils.report.sections.ablations import ablations
from Utils.report.sections.accuracy import accuracy
from Utils.report.sections.flops import flops
from Utils.report.sections.inference import inference
from Utils.report.sections.precision import mixed_precision
from Utils.report.sections.settings import settings
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
    there = {"inference": {"total_seconds": 5.0, "device": "cuda", "ratio": {"median": 1.0, "q1": 0.9, "q3": 1.1}}}
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


def test_a_compression_is_one_number_however_it_was_given():
    """0.1 + 0.2 is 0.30000000000000004."""
    group = group_of(made("snip", 0.1 + 0.2), made("snip", 0.3, seed=2), made("mag", 0.3))
    assert {run.compression for run in group.runs} == set(group.table["compression"]) == {0.3}
    assert group.n() == "n\u00a0=\u00a01 to 2"
    assert not any("at compression" in item.what for item in missing(collection(*group.runs), [group], []))


def test_unfinished_runs_are_no_seeds_of_a_caption():
    group = group_of(made("snip"), made("snip", seed=2, status="failed"))
    assert described(group, False) == "One seed, n\u00a0=\u00a01."


def test_contents_of_files_are_named_and_are_no_option():
    first, second = ({"weights": "w.pt", "contents": {"w.pt": letter * 64}} for letter in "ab")
    tables = groups(collection(made("snip", **first), made("mag", **second)))
    (group,) = tables
    assert not group.differences and "contents" not in group.label
    rows = settings(tables).blocks[0].text.to_dict("records")
    assert [(row["option"], row["value"]) for row in rows if "SHA" in row["option"]] == [("SHA-256 of w.pt", "aaaaaaaaaaaa..."), ("SHA-256 of w.pt", "bbbbbbbbbbbb...")]
    apart = groups(collection(made("snip", **first), made("snip", top1=10.0, **second)))
    assert sorted(table.name for table in apart) == ["SHA-256 of w.pt aaaaaaaaaaaa...", "SHA-256 of w.pt bbbbbbbbbbbb..."]


def test_a_twin_has_the_same_options_and_files():
    run = made("snip", contents={"w.pt": "a"}, folder="one")
    found = Collection()
    again = [replace(run, folder=run.folder.with_name("two")), made("snip", contents={"w.pt": "b"}), made("snip", seed=2), made("snip", status="failed")]
    for one in (run, *again):
        found.sort_in(one)
    assert found.runs == [run, *again[1:]]
    assert found.left_out[0] == (again[0].folder, f"the same run as {run.folder}, which counts once")


def test_weights_taken_with_and_without_the_masks_of_their_file_stand_in_tables_of_their_own():
    tables = groups(collection(*(made("snip", weights="w.pt", weights_dense=dense) for dense in (False, True)), made("dense", 0.0, weights="w.pt", weights_dense=True)))
    assert [table.label.partition(", ")[2] for table in tables] == ["weights w.pt", "weights w.pt, masks of the file ignored"]
    assert [len(table.dense) for table in tables] == [0, 1]


def test_the_caption_of_curves_is_the_recipe_and_n():
    group = group_of(made("snip", scale=0.1), made("snip", seed=2, scale=0.1))
    assert recipe_and_n(group, group.runs) == "Optimizer adam, lr 0.001, train batch size 64, post epochs 10, pre epochs 0; epochs scaled by 0.1; n\u00a0=\u00a02."


def test_captions_say_the_rounds_of_iterative_methods():
    group = group_of(made("snip"), made("synflow", prune_epochs=None), made("dense", 0.0))
    assert described(group, False) == "Synflow with 100 rounds; one seed, n\u00a0=\u00a01."
    assert "; synflow with 100 rounds; n" in recipe_and_n(group, group.all) and "rounds" not in recipe_and_n(group, group.all[:2])
    assert rounds_in([made("synflow", prune_epochs=1)]) == "synflow with 1 round" and rounds_in([made("mag"), made("dense", 0.0)]) == ""
    assert rounds_in([made("snip", prune_epochs=3), made("synflow"), made("synflow", prune_epochs=5)]) == "snip with 3 rounds, synflow with 1 or 5 rounds"
    assert with_rounds(made("mag").options) == "mag" and with_rounds({"pruner": "synflow"}) == "synflow with 100 rounds"


def test_one_round_beside_a_hundred_leaves_the_other_methods_in_one_table():
    """As in the preset `cos568-2025`."""
    usual = [made("dense", 0.0), made("mag", pre_epochs=200), made("snip"), made("synflow", prune_epochs=100)]
    tables = groups(collection(*usual, made("synflow", prune_epochs=1)))
    assert [(table.methods, table.label.rpartition(", ")[2]) for table in tables] == [
        (["mag", "snip", "synflow"], "prune epochs the method's own"), (["synflow"], "prune epochs 1"),
    ]  # fmt: skip
    assert all(len(table.dense) == 1 for table in tables)
    assert [described(table, False).partition(";")[0] for table in tables] == ["Synflow with 100 rounds", "Synflow with 1 round"]


def test_the_rounds_stand_in_every_caption_of_what_they_change():
    runs = [made("synflow", c, prune_epochs=100, **more) for c in (0.5, 1) for more in ({}, {"quantization": True}, {"shuffle": True})]
    tables = groups(collection(*runs, made("dense", 0.0)))
    sections = [make(tables) for make in (accuracy, tradeoff, inference, flops, mixed_precision, ablations)]
    captions = [block.caption for section in sections for block in section.blocks if hasattr(block, "caption")]
    assert len(captions) > 12 and all("ynflow with 100 rounds" in caption for caption in captions), captions
