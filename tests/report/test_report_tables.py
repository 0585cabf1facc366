"""The tables of a report: groups, means, marks, warnings, sentences, commands. All numbers are worked out by hand."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import SINGLE, collection, made

from Utils.base.csv_files import inert
from Utils.options.command_line import parse
from Utils.options.resolve import with_rounds
from Utils.report import findings
from Utils.report.blocks import Data, Section, slug
from Utils.report.captions import shown_compression
from Utils.report.commands import command, command_of
from Utils.report.document import _name_apart
from Utils.report.groups import groups
from Utils.report.missing import missing
from Utils.report.pivot import pivot, plus_minus
from Utils.report.sections.ablations import ablations
from Utils.report.sections.precision import mixed_precision
from Utils.report.sections.tradeoff import tradeoff


def group_of(*runs):
    (group,) = groups(collection(*runs))
    return group


def plain(text):
    return text.replace("\u00a0", " ")


def accuracy_of(*runs):
    return pivot(group_of(*runs), "accuracy", "a", "c", plus_minus(2), marks=True)


def test_means_deviations_and_marks():
    table = accuracy_of(
        made("dense", 0, 1, 98), made("dense", 0, 2, 96),
        made("snip", 1, 1, 90), made("snip", 1, 2, 94),
        made("mag", 1, 1, 10, summary={"collapsed": True, "untrained": True}), made("mag", 1, 2, 20),
        made("snip", 2, 1, status="failed"),
    )  # fmt: skip
    rows = table.text.map(plain).to_dict("records")
    assert rows[0] == {"compression": "dense", "density": "100 %", "mag": "97.00 ± 1.41", "snip": "97.00 ± 1.41"}
    assert rows[1] == {"compression": "1", "density": "10 %", "mag": "15.00 ± 7.07 (1 of 2 collapsed, 1 of 2 untrained)",
                       "snip": "92.00 ± 2.83"}  # fmt: skip
    assert rows[2] == {"compression": "2", "density": "1 %", "mag": "not run", "snip": "failed"}
    cell = table.data[(table.data["pruner"] == "snip") & (table.data["compression"] == 1)].iloc[0]
    assert (cell["mean"], cell["min"], cell["max"], cell["n"]) == (92, 90, 94, 2) and cell["std"] == pytest.approx(8**0.5)


def test_n_stands_in_the_cells_where_it_differs():
    text = accuracy_of(made("snip", 1, 1, 90), made("snip", 1, 2, 90), made("rand", 1, 1, 50)).text.map(plain)
    assert text.loc[1].tolist() == ["1", "10 %", "50.00 (n = 1)", "90.00 ± 0.00 (n = 2)"]
    assert text.loc[0].tolist() == ["dense", "100 %", "not run", "not run"]


def test_no_cell_is_ever_blank():
    text = accuracy_of(made("snip", 1, top1=None), made("rand", 0.5, status="running"), made("mag", 2, 1)).text
    assert (text.map(len) > 0).all().all()
    assert text.loc[2, "snip"] == "not measured" and text.loc[1, "rand"] == "running"


def test_networks_datasets_and_ablations_stand_in_tables_of_their_own():
    runs = [made("snip"), made("snip", model="conv"), made("snip", dataset="cifar10"), made("snip", quantization=True),
            made("snip", shuffle=True), made("mag", mask_scope="local")]  # fmt: skip
    labels = [group.label for group in groups(collection(*runs))]
    assert labels == ["default fc on mnist", "default conv on mnist", "default fc on cifar10", "default fc on mnist, mixed precision",
                      "default fc on mnist, shuffled masks", "default fc on mnist, mask scope local"]  # fmt: skip


def test_dense_networks_stand_beside_all_tables_of_their_network():
    dense, conv = made("dense", 0), made("dense", 0, model="conv")
    found = groups(collection(made("snip"), made("snip", shuffle=True), dense, conv))
    assert [group.dense for group in found] == [[dense], [conv], [dense]]
    assert found[1].methods == []


def test_one_cell_made_in_two_ways_is_never_averaged():
    found = groups(collection(made("snip", top1=90, post_epochs=10), made("snip", top1=70, post_epochs=1), made("mag", post_epochs=1)))
    assert [(g.methods, list(g.table["accuracy"])) for g in found] == [(["snip"], [90]), (["mag", "snip"], [70, 90])]
    assert all("post epochs" in group.label for group in found)


def test_recipes_and_seeds_that_differ_are_named():
    group = group_of(made("mag", pre_epochs=200), made("snip"), made("snip", seed=2), made("rand", lr=0.1))
    assert group.differences == ["pre epochs: 200 for mag; 0 for snip, rand", "lr: 0.001 for mag, snip; 0.1 for rand",
                                 "seeds: 1 for mag, rand; 1 and 2 for snip"]  # fmt: skip
    assert group_of(made("mag"), made("snip")).differences == []


def test_captions_state_settings_and_n_and_scale():
    group = group_of(made("mag", pre_epochs=20, scale=0.1), made("snip", scale=0.1))
    assert "post epochs 10" in group.recipe and "pre epochs 20 or 0" in group.recipe and "epochs scaled by 0.1" in group.recipe
    assert plain(group.n()) == "n = 1" and plain(group_of(made("mag"), made("mag", seed=2), made("snip")).n()) == "n = 1 to 2"


def test_leaders_are_set_against_the_spread():
    group = group_of(made("snip", 1, 1, 90), made("snip", 1, 2, 92), made("mag", 1, 1, 80), made("mag", 1, 2, 82),
                     made("snip", 2, 1, 50), made("snip", 2, 2, 60), made("mag", 2, 1, 54), made("mag", 2, 2, 54))  # fmt: skip
    assert findings.leaders(group) == [
        "At compression 1, snip leads with 91.00 %, 10.00 points above mag: more than their two standard deviations together (2.83).",
        "At compression 2, snip leads with 55.00 %, 1.00 points above mag: no more than their two standard deviations together (7.07).",
    ]


def test_one_seed_says_nothing_of_the_spread_and_untrained_networks_lead_nothing():
    one = group_of(made("snip", top1=91), made("mag", top1=90), made("dense", 0, top1=91.5))
    assert findings.leaders(one) == [
        "At compression 1, snip leads with 91.00 %, 1.00 points above mag; with one seed of a method, nothing is known of the spread.",
        "The largest compression with an accuracy within 1 point of the dense network (91.50 %): snip 1.",
        "Nowhere within 1 point of the dense network (91.50 %): mag.",
    ]
    dead = {"untrained": True}
    none = group_of(made("snip", top1=10, summary=dead), made("mag", top1=10, summary=dead), made("dense", 0, top1=10, summary=dead))
    assert findings.leaders(none) == []
    assert findings.doubtful(none)[0].startswith("Untrained") and "dense, " in findings.doubtful(none)[0]


def test_flops_emptied_layers_and_times_are_told():
    group = group_of(made("rand"), made("synflow", summary={"flops_kept": 45, "collapsed_layers": ["layers.0", "fc"]}))
    assert findings.flops(group) == ["At compression 1, synflow keeps most FLOPs (45.00% of the dense network), rand fewest (10.00%), "
                                     "at the same number of weights."]  # fmt: skip
    assert findings.emptied(group) == ["synflow at compression 1 keeps nothing of layers.0, fc."]
    densities = pd.DataFrame({"snip": [0.5, 0.1]}, index=["a", "b"])
    assert findings.extremes(densities) == ["snip keeps most of a (50.00%) and least of b (10.00%)."]


def test_the_compression_whose_layers_are_shown():
    group = group_of(*(made("snip", c) for c in (0.2, 0.5, 1, 2)))
    assert shown_compression(group, None) == 0.5 and shown_compression(group, 2.0) == 2 and shown_compression(group, 3.0) == 0.5
    assert shown_compression(group_of(made("snip", status="failed")), None) is None


def test_mixed_precision_pairs_runs_and_averages_ratios():
    half = {"seconds": {"post_train": 1.0}, "peak_memory_bytes": {"train": 6_000_000}, "precision": "mixed: bfloat16 and float32"}
    section = mixed_precision(groups(collection(made("rand"), made("rand", 2), made("rand", quantization=True, summary=half))))
    table, said = section.blocks
    assert table.text.to_dict("records") == [
        {"method": "rand", "compression": "1", "peak memory (MB), with and without": "6.0 and 3.0",
         "training time (s), with and without": "1.0 and 2.0", "n": "1 and 1"}
    ]  # fmt: skip
    assert said.lines == ["With mixed precision the peak memory of training is 2.00 times that without (geometric mean of 1 pair of runs)."]
    assert mixed_precision(groups(collection(made("rand")))) is None


def test_ablations_are_compared_seed_by_seed():
    runs = [made("snip", 1, 1, 90), made("snip", 1, 2, 80), made("snip", 1, 1, 85, shuffle=True), made("snip", 1, 2, 79, shuffle=True)]
    (table,) = ablations(groups(collection(*runs))).blocks
    assert table.data.to_dict("records") == [{"pruner": "snip", "compression": 1.0, "change": -3.0, "deviation": pytest.approx(8**0.5), "n": 2}]


def test_the_figure_s_json_has_every_seed_and_the_dense_network_at_ratio_1():
    section = tradeoff([group_of(made("snip", 1, 1, 90), made("snip", 1, 2, 92), made("dense", 0, 1, 97))])
    (data,) = [block for block in section.blocks if type(block).__name__ == "Data"]
    assert data.content["snip"]["10"] == {"rho": 10.0, "alpha": 1.0, "sparsity": 0.9, "seeds": [1, 2], "best_accs": [91.0, 93.0],
                                          "final_accs": [90.0, 92.0]}  # fmt: skip
    assert data.content["dense"]["1"]["final_accs"] == [97.0]


def test_what_is_missing_has_commands_that_the_command_line_takes():
    runs = collection(made("snip", 1), made("synflow", 2, prune_epochs=100))
    wanted = missing(runs, groups(runs), [])
    words = " | ".join(item.what for item in wanted)
    for part in ("dense network", "snip at compression 2", "synflow at compression 1", "3 seeds", "trace", "mixed precision", "histograms"):
        assert part in words
    for item in wanted:
        assert shlex.split(item.command)[:2] == ["python", "main.py"]
        parse(shlex.split(item.command)[2:])
    assert not any("prune-epochs" in item.command for item in wanted)


CHOICES = {
    "pruner": st.sampled_from(["snip", "synflow", "mag"]), "compression": st.floats(0, 5), "seed": st.integers(0, 9),
    "lr": st.floats(1e-6, 1), "post_epochs": st.integers(0, 300), "lr_drops": st.lists(st.integers(1, 9), max_size=3, unique=True),
    "prune_bias": st.booleans(), "prune_epochs": st.integers(1, 200), "mask_scope": st.sampled_from(["global", "local"]),
    "augment": st.sampled_from([None, "none"]), "save_trace": st.booleans(),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(CHOICES))
def test_a_command_made_of_options_gives_these_options(choices):
    asked = SINGLE | choices | {"lr_drops": sorted(choices["lr_drops"])}
    found = with_rounds(parse(shlex.split(command(asked))[2:])).record()
    for name in choices:
        value = found[name]
        assert value == pytest.approx(asked[name]) if isinstance(value, float) else value == asked[name] or (not value and not asked[name]), name


def test_a_run_s_command_with_changes():
    run = made("synflow", 1, prune_epochs=100, model="resnet20", model_class="lottery")
    assert command_of(run) == "python main.py --model resnet20 --model-class lottery --pruner synflow --compression 1"
    assert command_of(run, save_trace=True, compression=None).endswith("--save-trace --pruner synflow")
    assert command_of(run, pruner=None, pruner_list=["snip", "mag"]).endswith("--compression 1 --pruner-list snip mag")


@pytest.mark.parametrize(("text", "safe"), [("=1+1", "'=1+1"), ("@cmd", "'@cmd"), ("-3.5", "-3.5"), ("+x", "'+x"), ("snip", "snip"), (3, 3)])
def test_formulas_in_tables_are_text(text, safe):
    assert inert(text) == safe


def test_file_names_are_short_and_apart():
    long, longer = "x" * 100, "x" * 101
    assert slug("A b", "0.5/c") == "a-b-0.5-c" and slug(long) != slug(longer) and len(slug(long)) < 100


def test_no_two_blocks_of_a_kind_have_one_name():
    blocks = [Data(name, "", None) for name in ("run", "run-2", "run", "run-2", "run")]
    sections = [Section("a", blocks[:3]), Section("b", blocks[3:])]
    _name_apart(sections)
    assert [block.name for section in sections for block in section.blocks] == ["run", "run-2", "run-3", "run-2-2", "run-4"]
