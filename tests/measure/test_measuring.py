"""FLOPs, MACs, paths: by hand, and against two other counters."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import assert_same, snapshot
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from Models import registry
from Models.masking import add_masks
from Models.reach import has_path
from Utils.measure.counting import compression_table, emptied_layers, totals, uses_per_entry


def table(model, shape, prunables=None):
    prunables = add_masks(model) if prunables is None else prunables
    return compression_table(model, prunables, [torch.ones_like(p.mask) for p in prunables], shape)


def test_flops_by_hand():
    """4x4 map: conv 2*3*9*16 + 3*16, BatchNorm 2*3*16, linear 48*5 + 5; MACs are conv and linear weights alone."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    sums = totals(table(model, (2, 4, 4)))
    assert sums["flops_total"] == sums["flops_kept"] == 864 + 48 + 96 + 240 + 5
    assert sums["macs_total"] == 864 + 240
    assert sums["params_total"] == 54 + 3 + 6 + 240 + 5


def test_grouped_convolutions_count_only_the_weights_they_have():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False), nn.Flatten(), nn.Linear(8 * 25, 2))
    assert totals(table(model, (8, 5, 5)))["macs_total"] == 8 * 2 * 9 * 25 + 400


def test_a_kept_weight_costs_its_positions():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 2))
    prunables = add_masks(model)
    prunables[0].mask.zero_()
    prunables[0].mask[0, 0, 0, 0] = 1
    sums = totals(table(model, (1, 4, 4), prunables))
    assert sums["flops_kept"] == 16 + 32 + 64 + 2 and sums["params_kept"] == 1 + 2 + 64 + 2


def test_layers_of_the_published_vgg16_table():
    """Weights alone add up to 313201664, with biases to 313478154, as two course reports have it."""
    rows = table(registry.build("vgg16", "lottery", (3, 32, 32), 10), (3, 32, 32))
    weights = rows[rows["param"] == "weight"].set_index("module")["flops"]
    wide, narrow, last = 37748736, 18874368, 9437184
    published = {"0": 1769472, "1": wide, "3": narrow, "4": wide, "6": narrow, "7": wide, "8": wide, "10": narrow, "11": wide, "12": wide,
                 "14": last, "15": last, "16": last}  # fmt: skip
    assert weights.to_dict() == {f"layers.{n}.conv": macs for n, macs in published.items()} | {"fc": 5120}
    assert weights.sum() == totals(rows)["macs_total"] == 313201664 and rows["flops"].sum() == 313478154


@pytest.mark.parametrize(("name", "kind", "shape"), [
    ("fc", "default", (1, 28, 28)), ("conv", "default", (1, 28, 28)), ("vgg11-bn", "lottery", (3, 32, 32)),
    ("resnet20", "lottery", (3, 32, 32)), ("alexnet", "lottery", (3, 32, 32)), ("resnet18", "tinyimagenet", (3, 64, 64)),
    ("vgg11", "tinyimagenet", (3, 64, 64)), ("resnet18", "imagenet", (3, 64, 64)), ("mobilenet_v2", "torchvision", (3, 64, 64)),
])  # fmt: skip
def test_macs_agree_with_thop_and_torch(name, kind, shape):
    import thop

    torch.manual_seed(0)
    model = registry.build(name, kind, shape, 10).eval()
    macs = totals(table(model, shape))["macs_total"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape))
    assert macs * 2 == counter.get_total_flops()
    layers = (nn.Conv2d, nn.Linear)
    bare = copy.deepcopy(model)
    ours = {n: m for n, m in bare.named_modules() if isinstance(m, layers)}
    _, _, per_layer = thop.profile(bare, (torch.zeros(1, *shape),), verbose=False, ret_layer_info=True)

    def leaves(info, prefix=""):
        for key, (count, _, inner) in info.items():
            full = f"{prefix}{key}"
            yield from leaves(inner, full + ".") if inner else [(full, count)]

    assert sum(count for n, count in leaves(per_layer) if n in ours) == macs


def test_counting_leaves_the_model_as_it_was():
    """The ancestor's hooks stayed behind, and its probe moved BatchNorm's statistics in train mode."""
    model = registry.build("resnet20", "lottery", (3, 32, 32), 10).train()
    prunables = add_masks(model)
    before = snapshot(model)
    for _ in range(3):
        uses_per_entry(model, (3, 32, 32))
        has_path(model, prunables, (3, 32, 32))
    assert_same(before, snapshot(model))


def test_a_model_that_cannot_run_on_meta_is_still_counted():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.table = nn.Linear(4, 2), torch.ones(4)

        def forward(self, x):
            return self.layer(x.flatten(1) + self.table)

    model = Fixed()
    assert uses_per_entry(model, (1, 2, 2)) == {"layer.weight": 1, "layer.bias": 1}


def test_a_network_with_an_empty_layer_has_no_path():
    model = registry.build("vgg11-bn", "lottery", (3, 32, 32), 10)
    prunables = add_masks(model)
    assert has_path(model, prunables, (3, 32, 32))
    prunables[3].mask.zero_()
    assert not has_path(model, prunables, (3, 32, 32))
    assert emptied_layers(table(model, (3, 32, 32), prunables)) == ["layers.5.conv"]


def test_a_shortcut_is_a_path():
    model = registry.build("resnet20", "lottery", (3, 32, 32), 10)
    prunables = add_masks(model)
    prunables[1].mask.zero_()
    assert has_path(model, prunables, (3, 32, 32))


def test_layers_that_do_not_meet_leave_no_path():
    """Both layers keep a weight, but no unit joins them; the biases lead nowhere."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    prunables = add_masks(model, bias=True)
    for p in prunables:
        p.mask.fill_(1.0 if p.param == "bias" else 0.0)
    model[0].weight_mask[0, 0] = model[2].weight_mask[0, 1] = 1
    assert not has_path(model, prunables, (2,))
    model[2].weight_mask[1, 0] = 1
    assert has_path(model, prunables, (2,))


def test_pruned_batchnorm_channels_close_the_path():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    prunables = add_masks(model, batchnorm=True)
    model[1].running_mean.fill_(-3.0)
    assert has_path(model, prunables, (1, 2, 2))
    model[1].weight_mask.zero_()
    assert not has_path(model, prunables, (1, 2, 2))


def test_score_moments():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    row = compression_table(model, add_masks(model), [torch.tensor([[1.0, -1.0], [3.0, -3.0]])], (2,)).iloc[0]
    assert (row["score_mean"], row["score_var"], row["score_sum"]) == (0, 5, 0)
    assert (row["score_abs_mean"], row["score_abs_var"], row["score_abs_sum"]) == (2, 1, 8)
