"""Overrides of some cells (`--for`), and changes to a preset by `--set` and `--dataset`."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_assignment import MINE, RUN, cells

from Utils.base.errors import Refused
from Utils.options.command_line import parse
from Utils.options.override_text import override, read_target, written


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "read"), [
    ("mag:pre-epochs=200", ("mag", {}, "pre_epochs", "200")),
    ("SynFlow@compression=1,seed=2:save-trace", ("synflow", {"compression": "1", "seed": "2"}, "save_trace", None)),
    ("snip@dataset=\"folder:/a,b\",model='n.py:f':lr-drops=1,2", ("snip", {"dataset": "folder:/a,b", "model": "n.py:f"}, "lr_drops", "1,2")),
    ("mag:lr=", ("mag", {}, "lr", "")),
])  # fmt: skip
def test_the_grammar(text, read):
    where, option, value = override(text)
    assert (*read_target(where), option, value) == read and override(written(where, option, value)) == (where, option, value)


def test_set_changes_the_values_of_every_part_and_the_name():
    plan, options = cells("--preset", "demo", "--set", "post-epochs=3", "lr=0.1", "--set", "pruner-list=rand,SNIP")
    assert plan.expid.startswith("demo-lr=0.1-post-epochs=3-pruner-list=rand_SNIP-") and plan.recorded["set"]
    assert {(o.post_epochs, o.lr) for o in options.values()} == {(3, 0.1)} and {o.pruner for o in options.values()} == {"dense", "rand", "snip"}
    assert {name for name, o in options.items() if o.save_trace} == {f"part=conv,pruner=snip,compression=1,seed={seed}" for seed in (1, 2)}
    plan, options = cells("--preset", "demo", "--set", "density=0.1")
    assert plan.expid == "demo-density=0.1" and {o.compression for o in options.values()} == {0, 1}  # in place of the compressions
    plan, options = cells("--preset", "demo", "--scale", "0.5", "--set", "post-epochs=4", "--result-dir", "there")
    assert plan.expid == "demo-scale-0.5-post-epochs=4" and {o.post_epochs for o in options.values()} == {2} and plan.result_dir == "there"
    assert cells("--preset", "demo", "--set", "lr=0.1", "post-epochs=3")[0].expid == cells("--preset", "demo", "--set", "post-epochs=3", "lr=0.1")[0].expid


def test_set_changes_one_override_and_leaves_the_others():
    plan, options = cells("--preset", "cos568-2026", "--set", "for=mag:pre-epochs=7", "for=rand@compression=0.2:save-trace")
    assert plan.expid.startswith("cos568-2026-for=mag_pre-epochs=7-for=rand_compression=0.2_save-trace-")
    assert {o.pre_epochs for o in options.values() if o.pruner == "mag"} == {7}
    assert {(o.pruner, o.compression) for o in options.values() if o.save_trace} == {("snip", 0.2), ("snip", 0.5), ("snip", 1), ("rand", 0.2)}
    _, options = cells("--preset", "cos568-2026", "--set", "pre-epochs=3", "for=mag:pre-epochs=7")
    assert {(o.pruner == "mag", o.pre_epochs) for o in options.values()} == {(True, 7), (False, 3)}


def test_a_dataset_is_replaced_also_in_conditions():
    Path("mine.toml").write_text(MINE.replace('"mag:pre-epochs=1"', "'mag@dataset=\"synthetic:1x8x8:3:60\":pre-epochs=1'").replace('model = "conv"', 'dataset = "mnist"'))
    plan, options = cells("--preset", "mine.toml", "--dataset", "synthetic:1x8x8:3:60=folder:a,b")
    assert plan.expid.startswith("mine-synthetic_1x8x8_3_60=folder_a_b-") and {o.dataset for o in options.values()} == {"folder:a,b", "mnist"}
    assert {o.pre_epochs for o in options.values() if o.pruner == "mag"} == {1}
    _, options = cells("--preset", "cos568-2026", "--dataset", "CIFAR10=synthetic:3x32x32:10")
    assert sorted({(o.model, o.dataset) for o in options.values()}) == [("fc", "mnist"), ("resnet20", "synthetic:3x32x32:10")]


def test_an_override_may_be_for_one_part():
    """`[common]` sets it for all; a part without such cells leaves it out, and one that no part has is refused."""
    common = MINE.replace('for = ["mag:pre-epochs=1"]\n', "").replace("post-epochs = 2", 'post-epochs = 2\nfor = ["mag:pre-epochs=1", "rand@model=conv:lr=0.1"]')
    Path("mine.toml").write_text(common)
    _, options = cells("--preset", "mine.toml")
    assert {o.model for o in options.values() if o.lr == 0.1} == {"conv"} and {o.pruner for o in options.values() if o.pre_epochs} == {"mag"}
    Path("mine.toml").write_text(common.replace("rand@model=conv", "rand@model=vgg16"))
    with pytest.raises(Refused, match=r"mine\.toml, part a: --for rand@model=vgg16:lr=0.1: no cell of rand has model vgg16; there are fc"):
        cells("--preset", "mine.toml")


def test_overrides_of_some_cells():
    """Those with more conditions count; the old form is for all cells of a pruner."""
    lists = ["--pruner-list", "rand", "snip", "--compression-list", "0.5", "1", "--seed-list", "1", "2", "--for"]
    plan = parse([*lists, "SNIP:lr=0.1", "snip@seed=2,compression=1:lr=0.3", "snip@sparsity=0.9:lr=0.2", "snip@compression=1:save-trace"])
    found = {(c.options.compression, c.options.seed): (c.options.lr, c.options.save_trace) for c in plan.cells if c.options.pruner == "snip"}
    assert found == {(0.5, 1): (0.1, False), (0.5, 2): (0.1, False), (1, 1): (0.2, True), (1, 2): (0.3, True)}
    assert {c.options.lr for c in plan.cells if c.options.pruner != "snip"} == {0.001}
    assert plan.recorded["for"][3] == ["snip@compression=1", "save_trace", "true"]
    old = parse([*lists, "snip:save-trace=true"])
    assert old.expid == parse([*lists, "snip:save-trace"]).expid and old.recorded["for"] == [["snip", "save_trace", "true"]]
    assert parse(["--for", 'rand@dataset="mnist":lr=0.5']).lr == 0.5


@pytest.mark.parametrize(("words", "parts"), [
    ([*RUN[:3], "demo", "--set", "post-epoch=3"], ["--set post-epoch=3", "unknown key post-epoch", "did you mean post-epochs?"]),
    ([*RUN[:3], "demo", "--set", "lr=x"], ["--set lr=x", "'x' is not a finite number"]),
    ([*RUN[:3], "demo", "--set", "lr"], ["--set", "'lr'", "NAME=VALUE"]),
    ([*RUN[:3], "demo", "--set", "lr=1", "lr=2"], ["--set lr=2", "twice"]),
    ([*RUN[:3], "demo", "--set", "result-dir=x"], ["--set result-dir=x", "unknown key"]),
    ([*RUN[:3], "demo", "--set", "pre-epochs=1"], ["--set pre-epochs", "mag:pre-epochs=5", "for=mag:pre-epochs=VALUE"]),
    ([*RUN[:3], "demo", "--set", "for=magg:lr=1"], ["--for magg:lr=1", "did you mean mag?"]),
    ([*RUN[:3], "demo", "--set", "for=snip@compression=3:lr=1"], ["--for snip@compression=3:lr=1", "there are 0.5, 1, 2"]),
    ([*RUN[:3], "demo", "--set", "seed-list=1,2", "--seed-list", "1"], ["--seed-list and --set"]),
    ([*RUN[:3], "demo", "--dataset", "cifar10"], ["--dataset cifar10", "OLD=NEW"]),
    ([*RUN[:3], "demo", "--dataset", "mnst=cifar10"], ["--preset demo has no mnst", "did you mean mnist?"]),
    ([*RUN[:3], "demo", "--dataset", "mnist=cifar-10"], ["'cifar-10'", "did you mean cifar10?"]),
    (["--set", "lr=1"], ["--set", "assignment"]),
])  # fmt: skip
def test_what_cannot_be_set_is_refused(words, parts, refused):
    refused(words, *parts)


@pytest.mark.parametrize(("old", "new", "parts"), [
    ("layer-compression = 0.5", "layer-compresion = 0.5", ["[report] layer-compresion", "did you mean layer-compression?"]),
    ('name = "b"', 'nmae = "b"', ["mine.toml, part 2", "unknown key nmae", "did you mean name?"]),
    ("dense = false", "dens = false", ["mine.toml, part b", "unknown key dens", "did you mean dense?"]),
    ("post-epochs = 2", "post-epoch = 2", ["mine.toml, part a", "unknown key post-epoch", "did you mean post-epochs?"]),
    ("compression = 1\n", "compression = [0.5, 1]\n", ["part b", "compression-list takes several"]),
])  # fmt: skip
def test_an_unknown_key_of_a_preset_has_the_nearest_one(old, new, parts, refused):
    Path("mine.toml").write_text(MINE.replace(old, new))
    refused(RUN, *parts)
