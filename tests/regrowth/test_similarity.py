"""SSIM of activation maps, against scikit-image."""

from __future__ import annotations

import pytest
import torch
from conftest import assert_same, snapshot
from skimage import metrics
from torch import nn

from Utils.regrowth.ssim import attention_map, layer_ssim, mean_maps, ssim2d, unit_range


@pytest.mark.parametrize("side", [4, 8, 32])
def test_ssim_is_that_of_scikit_image(side):
    draws = torch.Generator().manual_seed(side)
    window = min(7, side) - (1 - min(7, side) % 2)
    for noise in (0.0, 0.05, 1.0):
        a = torch.rand(side, side, generator=draws, dtype=torch.float64)
        b = unit_range(a + noise * torch.rand(side, side, generator=draws, dtype=torch.float64))
        expected = metrics.structural_similarity(a.numpy(), b.numpy(), data_range=1.0, win_size=window)
        assert ssim2d(a, b) == pytest.approx(expected, abs=1e-6)


def test_edges_of_ssim():
    image = torch.rand(8, 5)
    assert ssim2d(image, image) == pytest.approx(1.0, abs=1e-12)
    assert ssim2d(torch.rand(2, 2), torch.rand(2, 2)) is None and ssim2d(torch.rand(2, 9), torch.rand(2, 9)) is None
    with pytest.raises(ValueError, match="one shape"):
        ssim2d(torch.rand(4, 4), torch.rand(4, 5))
    assert torch.equal(unit_range(torch.full((3, 3), 2.0)), torch.full((3, 3), 2.0))


def test_attention_map_by_hand():
    maps = torch.tensor([[[[1.0, -2.0]], [[0.0, -1.0]]]])  # sums over channels: 1, -3
    assert torch.allclose(attention_map(maps), torch.tensor([[[0.25, -0.75]]]))
    assert not attention_map(torch.zeros(1, 2, 3, 3)).any()


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(4), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 3))


def test_layers_that_have_no_map_have_no_ssim_and_nothing_is_left_behind():
    one, other = net(0), net(1)
    batches = [(torch.randn(5, 1, 8, 8), torch.zeros(5)), (torch.randn(2, 1, 8, 8), torch.zeros(2))]
    before = snapshot(one), snapshot(other)
    found = layer_ssim(one, other, batches, ["0", "3", "5"], 2)
    assert found["3"] is None and found["5"] is None and -1 <= found["0"] < 1
    assert layer_ssim(one, one, batches, ["0"], 2)["0"] == pytest.approx(1.0)
    assert_same(before[0], snapshot(one))
    assert_same(before[1], snapshot(other))


def test_maps_are_means_over_images_before_an_activation_in_place():
    model = net(0)
    batches = [(torch.randn(3, 1, 8, 8), None), (torch.randn(1, 1, 8, 8), None), (torch.randn(9, 1, 8, 8), None)]
    images = torch.cat([batches[0][0], batches[1][0]])
    expected = attention_map(model[0](images)).mean(0)
    assert torch.allclose(mean_maps(model, batches, ["0"], 2)["0"], expected.double(), atol=1e-6)
    with pytest.raises(ValueError, match="no images"):
        mean_maps(model, [], ["0"], 2)


def test_hooks_go_when_the_network_fails():
    model = net(0)
    with pytest.raises(RuntimeError):
        mean_maps(model, [(torch.randn(1, 7, 8, 8), None)], ["0"], 1)
    assert not model[0]._forward_hooks and model.training
