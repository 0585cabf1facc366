"""Histograms of kept weights: the counts by hand, the files in a run's folder, the figures, and what is refused."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from malicious import Malicious

from Experiments.histogram import run
from Utils.base.errors import Refused
from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure
from Utils.measure.weight_histogram import bin_table, layer_table, measure, select
from Utils.options.types import Options
from Utils.runs.saved import heading, saved_networks

NAN, INF = float("nan"), float("inf")
COLUMNS = ["module", "param", "size", "kept", "density", "bin_left", "bin_right", "count"]
FILES = {f"{stem}.{kind}" for stem in ("histogram", "histogram-3d") for kind in ("csv", "png", "pdf")} | {"histogram.json"}


def state(**layers):
    """A state_dict: name -> (weights, mask), with `__` for dots."""
    tensors = {}
    for name, (weight, mask) in layers.items():
        full = name.replace("__", ".") + ".weight"
        tensors[full] = torch.as_tensor(weight, dtype=torch.float32)
        tensors[f"{full}_mask"] = torch.as_tensor(mask, dtype=torch.float32)
    return tensors


def of(tensors, bins=4):
    return measure(tensors, bins, Path("model.pt"))


def save(folder, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / "model.pt")
    return folder


def draw(*folders, layer=(), log_counts=False, bins=60):
    run(Options(experiment="histogram", run=[str(folder) for folder in folders], layer=layer, log_counts=log_counts, bins=bins, verbose=False))


SMALL = state(a=([[-1.0, -0.5, 0.0], [0.25, 9.0, 1.0]], [[1, 1, 1], [1, 0, 1]]), b=([2.0, 3.0], [0, 0]), c__d=([4.0], [1]))


def test_counts_by_hand():
    a, b, d = of(SMALL)
    assert (a.name, a.shape, a.size, a.kept, a.density) == ("a", (2, 3), 6, 5, 5 / 6)
    assert a.own.edges.tolist() == [-1, -0.5, 0, 0.5, 1] and a.own.counts.tolist() == [1, 1, 2, 1]
    assert a.common.edges.tolist() == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert a.common.counts.tolist() == [0, 0, 0, 2, 2, 1, 0, 0] and d.common.counts.tolist() == [0] * 7 + [1]
    assert a.mean == pytest.approx(-0.05) and a.std == pytest.approx(np.std([-1, -0.5, 0, 0.25, 1]))
    assert b.kept == 0 and np.isnan(b.mean) and d.own.counts.tolist() == [0, 0, 0, 1] and d.std == 0


def test_the_table_has_a_row_for_each_bin_and_one_for_what_has_no_bin():
    table = bin_table(of(SMALL | state(e=([NAN, INF, 1.0, -INF], [1, 1, 1, 0]))))
    assert list(table.columns) == COLUMNS
    assert table.groupby("module", sort=False).size().tolist() == [4, 1, 4, 5]
    assert table.groupby("module", sort=False)["count"].sum().tolist() == [5, 0, 1, 3]
    lost = table[table["bin_left"].isna()]
    assert lost["module"].tolist() == ["b", "e"] and lost["count"].tolist() == [0, 2] and lost["bin_right"].isna().all()
    shown = layer_table(of(SMALL))
    assert shown["shape"].tolist() == ["2x3", "2", "1"] and shown["sparsity"].tolist() == [1 - 5 / 6, 1, 0]


def test_layers_without_masks_are_shown_whole_and_shared_weights_once():
    tensors = state(a=([[1.0, 2.0]], [[1, 0]]))
    tensors |= {"a.bias": torch.ones(1), "a.bias_mask": torch.ones(1), "bn.weight": torch.ones(3), "fc.weight": torch.eye(2)}
    tensors |= {"tied.weight": tensors["a.weight"], "none.weight": torch.ones(0, 2), "x.buffer": torch.ones(2, 2)}
    layers = of(tensors)
    assert [layer.name for layer in layers] == ["a", "a.bias", "fc"] and layers[2].density == 1
    assert of({"weight": torch.ones(1), "weight_mask": torch.ones(1)})[0].name == "weight"


@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0])),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_counts_sum_to_kept_for_any_weights(weights, bins, random):
    mask = [random.random() < 0.7 for _ in weights]
    both = of(state(a=(weights, mask), b=([1.0], [1])), bins)
    kept = [float(w) for w, m in zip(weights, mask, strict=True) if m]
    layer, finite = both[0], [w for w in kept if np.isfinite(w)]
    assert layer.kept == len(kept) and layer.not_finite == len(kept) - len(finite)
    for table in (bin_table(both), bin_table(both, common=True)):
        assert table[table["module"] == "a"]["count"].sum() == layer.kept
    for found in (layer.own, layer.common):
        ends = found.edges.tolist()
        assert ends == sorted(ends) and ends == [-end for end in reversed(ends)]
        by_hand = [sum(low <= w < high for w in finite) for low, high in itertools.pairwise(ends)]
        by_hand[-1] += sum(w == ends[-1] for w in finite)
        assert found.counts.tolist() == by_hand


def test_half_precision_and_double_precision_are_read():
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        tensors = {name: tensor.to(kind) for name, tensor in SMALL.items()}
        assert of(tensors)[0].own.counts.tolist() == [1, 1, 2, 1]
    boolean = {name: tensor.bool() if name.endswith("_mask") else tensor for name, tensor in SMALL.items()}
    assert of(boolean)[0].kept == 5


def test_a_layer_is_named_exactly_or_by_what_it_is_below():
    layers = of(state(blocks__1__conv=([1.0], [1]), blocks__10__conv=([1.0], [1]), blocks__1__fc=([1.0], [1])))
    meant = {"blocks.1": ["blocks.1.conv", "blocks.1.fc"], "blocks.1.conv": ["blocks.1.conv"], "block": []}
    for name, names in (meant | {"blocks.10.conv.weight": ["blocks.10.conv"]}).items():
        assert [layer.name for layer in select(layers, name)] == names


def test_a_real_run_keeps_its_own_files_and_gets_the_figures(command, capsys):
    words = ["--experiment", "prune", "--model", "resnet20", "--dataset", "cifar10", "--no-download", "--pruner", "synflow",
             "--prune-epochs", "2", "--compression", "0.5", "--expid", "r"]  # fmt: skip
    assert command(*words).status == 0
    folder = Path("Results/data/prune/r")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    draw(folder, layer=("blocks.0",))
    out = capsys.readouterr().out
    wanted = FILES | {"histogram-blocks.0.png", "histogram-blocks.0.pdf"}
    assert {file.name for file in folder.iterdir()} == set(before) | wanted
    del before["manifest.json"]  # which has the new names
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    counted = pd.read_csv(folder / "compression.csv").query("prunable").set_index("module")["kept"]
    for name in ("histogram.csv", "histogram-3d.csv"):
        assert pd.read_csv(folder / name).groupby("module")["count"].sum().to_dict() == counted.to_dict()
    assert "Kept: 85665/270896 (0.3162)" in out and set(counted.index) <= set(out.split())
    assert all((folder / n).read_bytes()[:4] == b"\x89PNG" for n in wanted if n.endswith("png"))
    assert b"/Type3" not in (folder / "histogram.pdf").read_bytes()
    assert heading(folder) == "resnet20, cifar10, synflow" and "Already done" in command(*words).out


def test_several_runs_and_the_cells_of_a_grid(tmp_path, capsys):
    one, grid = save(tmp_path / "one", SMALL), tmp_path / "grid"
    cells = [save(grid / f"seed={seed}", SMALL) for seed in (1, 2)]
    for name in ("seed=3", ".hidden"):
        (grid / name).mkdir()
    (grid / "grid.csv").write_text("cell\n")
    notes = [f"{folder}: no saved network (model.pt is missing)" for folder in (grid / "seed=3", tmp_path / "nowhere")]
    assert saved_networks([one, grid, cells[0], tmp_path / "nowhere"]) == ([one, *cells], notes)
    draw(one, cells[1], log_counts=True, bins=3)
    assert all((one / name).read_bytes() == (cells[1] / name).read_bytes() for name in ("histogram.csv", "histogram-3d.csv"))
    before = {name: (one / name).read_bytes() for name in FILES}
    draw(one, log_counts=True, bins=3)
    assert {name: (one / name).read_bytes() for name in FILES} == before
    assert {f.name for f in cells[1].iterdir()} == FILES | {"model.pt", "manifest.json"} and [f.name for f in cells[0].iterdir()] == ["model.pt"]
    assert capsys.readouterr().out.count("Kept: 6/9 (0.6667)") == 3 and heading(one) == "one"
    with pytest.raises(Refused, match="no saved network there"):
        saved_networks([tmp_path / "nowhere", grid / "seed=3"])


def test_figures_of_layers_are_named_safely(tmp_path):
    odd = {"a/b $c$": ([1.0], [1]), "3d": ([1.0], [1]), "x" * 100: ([1.0], [1])}
    folder = save(tmp_path / "odd", state(**odd))
    draw(folder, layer=tuple(odd))
    names = sorted(file.name for file in folder.glob("histogram-*.png"))
    assert len(names) == 4 and "histogram-3d.png" in names and all(len(name) < 90 for name in names)
    assert any(name.startswith("histogram-a_b_c_-") for name in names)
    every = save(tmp_path / "every", state(a=([1.0], [1]), b=([1.0], [0])))
    draw(every, layer=("all",))
    assert {f.name for f in every.glob("*.png")} - FILES == {f"histogram-{name}.png" for name in ("a", "b")}


def test_what_cannot_be_shown_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = save(tmp_path / "good", SMALL)
    whole = (good / "model.pt").read_bytes()
    damaged = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello", "trap": pickle.dumps(Malicious(Path.touch, Path("trapped")))}
    faults = {
        "empty": "is empty", "cut": "is cut off or damaged", "text": "is a text file", "trap": "is a pickle that torch.save did not",
        "list": "no state_dict but a list", "object": "epoch is no dense tensor", "bare": "holds no masks",
        "shape": r"a.weight_mask has shape \[1\]", "kind": "no real numbers but torch.int64"}  # fmt: skip
    contents = {
        "list": [torch.ones(1)],
        "object": {"epoch": 3},
        "bare": {"a.weight": torch.ones(2, 2)},
        "shape": SMALL | {"a.weight_mask": torch.ones(1)},
        "kind": {"a.weight": torch.ones(2, dtype=torch.int64), "a.weight_mask": torch.ones(2)},
    }
    for name, reason in faults.items():
        folder = tmp_path / name
        folder.mkdir()
        file = folder / "model.pt"
        if name in damaged:
            file.write_bytes(damaged[name])
        else:
            torch.save(contents[name], file)
        with pytest.raises(Refused, match=reason) as refusal:
            draw(good, folder)
        assert str(file) in str(refusal.value) and "\n" not in str(refusal.value)
    with pytest.raises(Refused, match=r"--layer c\.: .*good has no such layer; did you mean c\.d\? choose from a, b, c\.d"):
        draw(good, layer=("a", "c."))
    assert [file.name for file in good.iterdir()] == ["model.pt"] and not Path("trapped").exists()


def test_a_folder_where_a_file_is_to_be_is_refused(tmp_path):
    folder = save(tmp_path / "run", SMALL)
    (folder / "histogram.csv").mkdir()
    with pytest.raises(Refused, match=r"histogram\.csv is a folder, not a file"):
        draw(folder)
    assert not list(folder.glob(".histogram*"))


def test_weights_that_are_not_finite_are_named(tmp_path, capsys):
    folder = save(tmp_path / "run", state(a=([NAN, 1.0], [1, 1]), b=([INF], [1])))
    (folder / "args.json").write_text(json.dumps({"model": "fc"}))
    draw(folder)
    assert "WARNING: weights that are not finite, which the figures leave out: a (1), b (1)" in capsys.readouterr().out
    assert heading(folder) == "fc"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "weights", [[0.0, 0.0], [7.0], [1e-45], [3e38, -3e38], [NAN, INF], [1.0, 1.0, 1.0], [1e5, 100000.01], list(range(50))]
)
def test_figures_of_any_weights_can_be_drawn(weights, tmp_path):
    layers = of(state(**{"odd $name": (weights, [1] * len(weights)), "empty": ([1.0], [0])}))
    for log in (False, True):
        for figure in (grid_figure(layers, "$x$", log), layer_figure(layers, "$x$", log), stacked_figure(layers, "$x$")):
            figure.savefig(tmp_path / "figure.pdf", format="pdf")
    (small, empty), texts = grid_figure(layers, "title").axes, "nothing kept"
    assert [text.get_text() for text in empty.texts][-1] == texts and "0 kept, 1 pruned" in empty.get_title("left")
    drawn = sum(patch.get_data().values.sum() for patch in small.patches if hasattr(patch, "get_data"))
    assert drawn == sum(np.isfinite(weights))


def test_the_view_in_depth_shows_shares_and_says_what_it_cuts():
    many = state(front=(np.linspace(-1, 1, 200), [1] * 200), one=([0.9], [1]))
    figure = stacked_figure(of(many), "title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "one (1 kept; cut off, peak 1)" in texts and "front" in texts
    assert "share of the layer's kept weights\nper bin of 0.25" in texts
