"""Layers of every kind: which weights are prunable, how often each is used, and which are left dense, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from Models.masking import add_masks, apply_masks, hold_masks
from Models.shapes import eval_mode
from Utils.measure.counting import compression_table, count_uses, emptied_layers, left_dense, multiply_adds, totals

IMAGE = (1, 8, 8)
PRUNE = ["--experiment", "prune", "--dataset", "synthetic:1x8x8:3:60", "--pruner", "mag", "--sparsity", "0.5"]
FILE = """
import torch
from torch import nn
from torch.nn.utils import parametrizations
class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)
    def forward(self, x): return self.head(self.rnn(x.flatten(1, 2))[0][:, -1])
def rows(shape, classes): return Rows()
def normed(shape, classes):
    return nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, classes))
"""


class Layer(nn.Module):
    """A layer between two functions: `before` makes its arguments of the images, `after` makes the output of its result."""

    def __init__(self, layer, before=lambda x: (x,), after=lambda y: y):
        super().__init__()
        self.layer, self.before, self.after = layer, before, after

    def forward(self, x):
        return self.after(self.layer(*self.before(x)))


def rows(x):
    return (x.flatten(1, 2),)  # 8 steps of 8 numbers


def flat(x):
    return (x.flatten(1),)


def two(x):
    return x.flatten(1)[:, :6], x.flatten(1)[:, 6:10]


def crossed(x):
    return x[:, 0, :3], x[:, 0, :5, :6], x[:, 0, :5, :7]  # 3 queries of 8 numbers, 5 keys of 6, 5 values of 7


def narrow(x):
    return (x[:, :, :4, :4].expand(-1, 8, -1, -1),)


# Maker of a layer, its arguments, its MACs: the entries of each weight, times how often each entry is used.
CASES = {
    "conv1d": (lambda: nn.Conv1d(8, 16, 3, padding=1), rows, 8 * 16 * 3 * 8),
    "conv3d": (lambda: nn.Conv3d(1, 2, 3), lambda x: (x[:, None].expand(-1, -1, 4, -1, -1),), 2 * 27 * 2 * 6 * 6),
    "transposed": (lambda: nn.ConvTranspose2d(8, 4, 2, 2), narrow, 8 * 4 * 4 * 16),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(8, 4, 2, 2, groups=2), narrow, 8 * 2 * 4 * 16),
    "transposed 1d": (lambda: nn.ConvTranspose1d(8, 4, 3), rows, 8 * 4 * 3 * 8),
    "bilinear": (lambda: nn.Bilinear(6, 4, 3), two, 6 * 4 * 3),
    "rnn": (lambda: nn.RNN(8, 16, batch_first=True), rows, (16 * 8 + 16 * 16) * 8),
    "gru": (lambda: nn.GRU(8, 16, batch_first=True), rows, 3 * (16 * 8 + 16 * 16) * 8),
    "lstm, two layers": (lambda: nn.LSTM(8, 16, 2, batch_first=True), rows, 4 * (16 * 8 + 16 * 16 + 2 * 16 * 16) * 8),
    "both ways": (lambda: nn.GRU(8, 16, bidirectional=True, batch_first=True), rows, 2 * 3 * (16 * 8 + 16 * 16) * 8),
    "projected": (lambda: nn.LSTM(8, 16, proj_size=4, batch_first=True), rows, (4 * 16 * (8 + 4) + 4 * 16) * 8),
    "cell": (lambda: nn.GRUCell(8, 16), lambda x: (x[:, 0, 0],), 3 * (16 * 8 + 16 * 16)),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), lambda x: rows(x) * 3, (3 * 64 + 64) * 8),
    "cross attention": (
        lambda: nn.MultiheadAttention(8, 2, kdim=6, vdim=7, batch_first=True), crossed, 64 * 3 + 8 * 6 * 5 + 8 * 7 * 5 + 64 * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_layer_is_prunable_and_counted(name):
    make, before, macs = CASES[name]
    model = Layer(make(), before)
    prunables = add_masks(model)
    assert {p.name for p in prunables} == {n for n, _ in model.named_parameters() if "weight" in n}
    table = compression_table(model, prunables, [p.weight for p in prunables], IMAGE)
    assert multiply_adds(model, IMAGE) == totals(table)["macs_total"] == macs and left_dense(table) == {}
    assert (table.loc[table["param"].str.contains("bias"), "flops"] > 0).all()
    prunables[0].mask.zero_()
    rows = compression_table(model, prunables, [p.weight for p in prunables], IMAGE)
    assert totals(rows)["macs_kept"] == macs - int(rows.loc[rows["kept"] == 0, "macs"].sum()) < macs
    assert emptied_layers(rows) == [prunables[0].name.removesuffix(".weight")]


@pytest.mark.parametrize("name", ["gru", "cross attention", "bilinear", "transposed"])
def test_masks_hold_in_training_and_in_the_forward(name):
    """Masked weights are zero after each step, and the output is that of a network with zeros there."""
    make, before, _ = CASES[name]
    model = Layer(make(), before, lambda y: y[0] if isinstance(y, tuple) else y)
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_((torch.rand_like(p.mask) < 0.5).float())
    apply_masks(prunables)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    hold_masks(optimizer, prunables)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, *IMAGE)).square().sum().backward()
        optimizer.step()
    assert all(bool((model.state_dict()[p.name][p.mask == 0] == 0).all()) for p in prunables)
    zeros = {p.name: p.weight.detach() * p.mask for p in prunables}
    x = torch.randn(4, *IMAGE)
    torch.testing.assert_close(model(x), torch.func.functional_call(model, zeros, (x,)))


@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.weight_norm, nn.utils.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_parametrised_layer_is_left_dense_and_named(wrap):
    model = nn.Sequential(nn.Flatten(), wrap(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 3))
    prunables = add_masks(model)
    table = compression_table(model, prunables, [p.weight for p in prunables], IMAGE)
    assert [p.name for p in prunables] == ["3.weight"] and totals(table)["macs_total"] == 4096 + 192
    assert left_dense(table) == {"1": 4096 / 4288}
    assert totals(table)["flops_total"] == 4288 + 64 + 3


def test_a_parameter_that_a_function_multiplies_is_counted_and_named():
    class Prototypes(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.prototypes = nn.Linear(64, 8), nn.Parameter(torch.randn(3, 8))
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x):
            return (self.body(x.flatten(1)) * self.scale) @ nn.functional.normalize(self.prototypes).t()

    model = Prototypes()
    table = compression_table(model, add_masks(model), [model.body.weight], IMAGE)
    assert totals(table)["macs_total"] == 512 + 24 and left_dense(table) == {"prototypes": 24 / 536}


def test_a_run_names_what_it_left_dense_and_prunes_recurrent_weights(command):
    Path("mine.py").write_text(FILE)
    done = command(*PRUNE, "--model", "mine.py:normed", "--expid", "x")
    assert done.out.count("NOTE: left dense, with their share of all weights: 1 (95.52 %)") == 1
    summary = json.loads(Path("Results/data/prune/x/summary.json").read_text())
    assert summary["left_dense"] == {"1": 4096 / 4288} and summary["left_dense_share"] == 4096 / 4288
    assert summary["macs_total"] == 4288
    done = command(*PRUNE, "--model", "mine.py:rows", "--expid", "y")
    summary = json.loads(Path("Results/data/prune/y/summary.json").read_text())
    assert done.status == 0 and "left_dense" not in summary and summary["macs_total"] == 9264
    state = torch.load("Results/data/prune/y/model.pt")
    masks = {n.removesuffix("_mask"): m for n, m in state.items() if n.endswith("_mask")}
    assert (
        set(masks) == {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"} and sum(int(m.sum()) for m in masks.values()) == 600
    )
    assert all(bool((state[n][m == 0] == 0).all()) for n, m in masks.items())


def torchvision_macs(name: str, size: int) -> tuple[int, int]:
    """Return our MACs of a torchvision classifier, and torch's FLOPs without products of two tensors of the image."""
    import torchvision

    keywords = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, num_classes=10, weights=None, **keywords)
    with FlopCounterMode(display=False) as counter, eval_mode(model), torch.no_grad():
        model(torch.zeros(1, 3, size, size, device="meta"))
    counts = counter.get_flop_counts()["Global"]
    flops = sum(count for operation, count in counts.items() if not {"bmm", "attention"} & set(str(operation).split(".")))
    return sum(count_uses(model, (3, size, size))[1].values()), flops


@pytest.fixture
def unfused(monkeypatch):
    """Attention in single products, which torch's counter sees, and numbers of RegNet's widths, which meta tensors lack."""
    from torchvision.models.regnet import BlockParams

    made = BlockParams.from_init_params

    def on_cpu(*args, **keywords):
        with torch.device("cpu"):
            return made(*args, **keywords)

    monkeypatch.setattr(BlockParams, "from_init_params", on_cpu)
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", 224), ("swin_t", 64), ("mobilenet_v3_small", 64)])
def test_macs_are_half_of_torchs_flops(unfused, name, size):
    macs, flops = torchvision_macs(name, size)
    assert 2 * macs == flops


@pytest.mark.long
def test_macs_of_every_torchvision_classifier_are_half_of_torchs_flops(unfused):
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        size = 299 if name == "inception_v3" else 224 if name.startswith(("vit", "maxvit")) else 64
        macs, flops = torchvision_macs(name, size)
        assert 2 * macs == flops, name
