"""The change of a layer's activations: SSIM (Wang et al. 2004) between the mean attention maps of two networks.

The map of a layer is that of Bidirection-Prune-Regrowth (Liu and Sheng 2025, arXiv 2511.11675): the output of a convolution,
before its norm and activation, summed over channels, divided by its L1 norm, averaged over the images. The window of the SSIM is
a box of up to 7 x 7, as in scikit-image's `structural_similarity`, and the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from Models.shapes import eval_mode

WINDOW = 7  # side of the box, made smaller and odd for smaller maps
LEAST = 3  # the smallest box: smaller maps have no SSIM
K1, K2 = 0.01, 0.03  # Wang et al. 2004, section 3
TINY = 1e-12  # an L1 norm below this belongs to a dead layer, whose map is zero

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def attention_map(activations: torch.Tensor) -> torch.Tensor:
    """Sum signed activations over channels and divide each image by its L1 norm: [B, C, H, W] -> [B, H, W]."""
    sums = activations.sum(1)
    return sums / sums.abs().sum((1, 2), keepdim=True).clamp(min=TINY)


def unit_range(image: torch.Tensor) -> torch.Tensor:
    """Stretch `image` to [0, 1]; a constant image stays the same."""
    low, high = image.aminmax()
    return torch.where(high > low, (image - low) / (high - low + 1e-8), image)


def ssim2d(a: torch.Tensor, b: torch.Tensor, window: int = WINDOW, data_range: float = 1.0) -> float | None:
    """Return the mean structural similarity of two images [H, W], in [-1, 1]; None for a side below 3.

    The window is a box of side min(window, H, W), made odd; covariances are those of samples; the mean is over the places where
    the window fits. This is the definition of scikit-image's `structural_similarity` with its defaults, in float64.

    Raises:
        ValueError: the shapes differ, or are not those of images.
    """
    if a.shape != b.shape or a.dim() != 2:
        raise ValueError(f"two images of one shape [H, W] are expected, not {tuple(a.shape)} and {tuple(b.shape)}")
    side = min(window, *a.shape)
    side -= 1 - side % 2
    if side < LEAST:
        return None
    x, y = (t.detach().to("cpu", torch.float64) for t in (a, b))
    means = F.avg_pool2d(torch.stack([x, y, x * x, y * y, x * y])[:, None], side, stride=1)[:, 0]
    mx, my, xx, yy, xy = means
    sample = side * side / (side * side - 1)
    vx, vy, covariance = sample * (xx - mx * mx), sample * (yy - my * my), sample * (xy - mx * my)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    map_ = ((2 * mx * my + c1) * (2 * covariance + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(map_.mean())


@torch.no_grad()
def mean_maps(model: nn.Module, batches: Batches, layers: Sequence[str], count: int) -> dict[str, torch.Tensor | None]:
    """Return the mean attention map [H, W] of each of `layers` over the first `count` batches, float64, on the device.

    It is None for a layer whose output does not have four dimensions. The network is in eval mode meanwhile; hooks are always
    removed.

    Raises:
        ValueError: there is no batch.
    """
    sums: dict[str, torch.Tensor | None] = {}

    def add(name: str, output: torch.Tensor) -> None:
        # Summed at once, so that an activation that works in place afterwards cannot change the values.
        part = attention_map(output).double().sum(0) if isinstance(output, torch.Tensor) and output.dim() == 4 else None
        before = sums.get(name)
        sums[name] = part if before is None or part is None else before + part

    handles, images_seen = [], 0
    try:
        for name in layers:
            hook = lambda _module, _inputs, output, name=name: add(name, output)  # noqa: E731
            handles.append(model.get_submodule(name).register_forward_hook(hook))
        with eval_mode(model):
            for images, _ in islice(batches, count):
                model(images)
                images_seen += len(images)
    finally:
        for handle in handles:
            handle.remove()
    if not images_seen:
        raise ValueError("no images to compare activations on")
    return {name: None if sums.get(name) is None else sums[name] / images_seen for name in layers}


def compare_maps(one: torch.Tensor | None, other: torch.Tensor | None) -> float | None:
    """Return the SSIM of two mean maps [H, W], each stretched to [0, 1]; None if it is not defined."""
    if one is None or other is None:
        return None
    return ssim2d(unit_range(one), unit_range(other))


def layer_ssim(
    dense: nn.Module, sparse: nn.Module, batches: Batches, layers: Sequence[str], count: int
) -> dict[str, float | None]:
    """Return the SSIM of each layer of two networks over the first `count` batches, which are read twice.

    It is None for layers whose output is not a map (Linear), and for maps with a side below 3.
    """
    before, after = (mean_maps(model, batches, layers, count) for model in (dense, sparse))
    return {name: compare_maps(before[name], after[name]) for name in layers}
