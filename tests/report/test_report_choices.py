"""What a report shows of itself, and what on request: settings that differ from their defaults, chosen layers, methods and traces."""

from __future__ import annotations

import pytest
from reports import collection, made

from Utils.base.errors import Refused
from Utils.options.report_choices import Choices, check
from Utils.report.captions import not_shown
from Utils.report.groups import groups
from Utils.report.sections.settings import settings
from Utils.report.sections.traces import traces


def rows_of(*runs):
    table, note = settings(groups(collection(*runs))).blocks
    assert "have their defaults" in note.text
    return [tuple(row) for row in table.text.itertuples(index=False)]


def test_settings_are_those_that_a_reader_needs_and_those_that_differ():
    rows = rows_of(*(made(m, pre_epochs=4 if m == "mag" else 0) for m in ("dense", "rand", "mag", "snip", "grasp", "synflow")), made("snip", 2.0, weight_decay=5e-4))
    assert rows == [
        ("model class", "default", "all runs"), ("model", "fc", "all runs"), ("dataset", "mnist", "all runs"),
        ("pre epochs", "4", "mag (default fc on mnist)"), ("pre epochs", "0", "all others"), ("post epochs", "10", "all runs"),
        ("optimizer", "adam", "all runs"), ("lr", "0.001", "all runs"), ("train batch size", "64", "all runs"),
        ("weight decay", "0.0005", "snip (default fc on mnist)"),
    ]  # fmt: skip


def test_rounds_are_named_where_they_are_not_the_methods_own():
    assert not [row for row in rows_of(made("synflow", prune_epochs=100), made("snip", prune_epochs=1)) if row[0] == "prune epochs"]
    assert ("prune epochs", "7", "synflow (default fc on mnist)") in rows_of(made("synflow", prune_epochs=7), made("snip"))


def test_methods_are_those_asked_for_else_snip_else_the_first():
    assert Choices().methods(["rand", "mag", "snip"]) == ["snip"] and Choices().methods(["rand", "mag"]) == ["rand"] and Choices().methods([]) == []
    asked = Choices(layer_methods=("mag", "synflow"))
    assert asked.methods(["rand", "mag", "snip"]) == ["mag"] and asked.methods(["rand"]) == ["rand"]
    assert Choices(layer_methods=("all",)).methods(["rand", "mag"]) == ["rand", "mag"]
    assert Choices().beside({"layer-methods": ["mag"]}).layer_methods == ["mag"] and asked.beside({"layer-methods": ["all"]}).layer_methods == ("mag", "synflow")
    with pytest.raises(Refused, match="a list of names of methods is expected"):
        check({"layer-methods": "snip"})


def test_a_line_names_what_is_not_shown():
    (group,) = groups(collection(made("rand"), made("snip"), made("mag")))
    (note,) = not_shown(group, ["snip"], "weights")
    assert note.text == "default fc on mnist: weights of snip; --experiment report --layer-method all shows rand, mag too."
    assert not not_shown(group, group.methods, "weights")


@pytest.mark.parametrize(("choices", "wanted"), [
    (Choices(), [1.0]), (Choices(layer_compression=2.1), [2.0]), (Choices(layer_methods=("all",)), [0.5, 1.0, 2.0]),
])  # fmt: skip
def test_of_several_traces_one_is_shown_and_the_others_are_named(choices, wanted, tmp_path, monkeypatch):
    shown, runs = [], [made("snip", c, folder=f"{tmp_path}/{c}") for c in (0.5, 1.0, 2.0)]
    for run in runs:
        run.folder.mkdir()
        (run.folder / "trace.json").touch()
    monkeypatch.setattr("Utils.report.sections.traces._of_run", lambda run: shown.append(run.compression) or [])
    notes = traces(collection(*runs), choices)
    assert shown == wanted
    others = [f"compression {c:g}, seed 1" for c in (0.5, 1.0, 2.0) if c not in wanted]
    assert [block.text for block in notes.blocks if notes] == [
        f"snip has traces at {'; '.join(others)} too: --experiment report --layer-method all shows them."
    ] if others else notes is None  # fmt: skip
