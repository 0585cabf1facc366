"""The transforms of images on their way into a batch: crops, mirror images, colours, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # black pixels on each side before a random crop


class Normaliser:
    """Normalisation of uint8 [N, C, H, W] to float32: x / 255, minus mean, divided by std per channel.

    The result is bit-equal to that of torchvision's ToTensor and Normalize.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str):
        # 255 is a tensor on the device because CUDA multiplies by the reciprocal of a Python number, which rounds otherwise.
        self.scale = torch.tensor(255.0).to(device)
        self.mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1).to(device)
        self.std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the normalised images, a new tensor."""
        return images.float().div_(self.scale).sub_(self.mean).div_(self.std)


def crop_flip(images: Tensor, rows: Tensor, columns: Tensor, flips: Tensor) -> Tensor:
    """Crop `images` (uint8 [B, C, H, W]) padded with `PADDING` black pixels and mirror some; the shape stays.

    Crop b starts at (`rows`[b], `columns`[b]) of the padded image, int64 in 0..2 * PADDING, and is mirrored if the bool
    `flips`[b]. All tensors are on one device, where one gather does the work.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (PADDING,) * 4)
    down = torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    across = torch.where(flips[:, None], across.flip(0), across)
    index = ((rows[:, None] + down) * (width + 2 * PADDING))[:, :, None] + (columns[:, None] + across)[:, None, :]
    index = index.view(count, 1, height * width).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view_as(images)


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize `images` (uint8 [..., C, H, W]) to `size` (height, width) with antialiasing; they stay on their device.

    The CPU computes it, as each device rounds to whole grey levels differently: a network sees the same images everywhere.
    """
    from torchvision.transforms.v2 import functional

    return functional.resize(images.cpu(), list(size), antialias=True).to(images.device)


def recipe(augment: str, size: int, moved: bool = True) -> Any:
    """Return the transform of one PIL image to uint8 [C, size, size].

    `imagenet` and `crop-flip` are random; `none` is for testing. `none` resizes the shorter side to `size` * 256 / 224 and cuts
    out the centre; `crop-flip` then crops and mirrors that. Where images are not to be `moved`, that crop and all mirroring is
    left out; `draw_move` then draws the numbers that they would have drawn.
    """
    from torchvision.transforms import v2

    if augment == "imagenet":
        steps = [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0)),
            v2.RandomGrayscale(0.2),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.4),
        ]
    else:
        steps = [v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size)]
    if augment == "crop-flip" and moved:
        steps += [v2.RandomCrop(size, padding=PADDING)]
    if augment != "none" and moved:
        steps += [v2.RandomHorizontalFlip()]
    return v2.Compose([*steps, v2.PILToTensor()])


def draw_move(augment: str) -> Tensor:
    """Draw a crop's row and column, in 0..2 * PADDING, and whether to mirror, 0 or 1: int64 [3], from the global generator.

    `imagenet` has no crop here; its row and column are those that leave the image as it is.
    """
    crops = augment == "crop-flip"
    row, column = (int(torch.randint(0, 2 * PADDING + 1, ())) if crops else PADDING for _ in range(2))
    return torch.tensor([row, column, int(torch.rand(1) < 0.5)])


def move(images: Tensor, moves: Tensor, augment: str) -> Tensor:
    """Crop and mirror `images` (uint8 [B, C, H, W]) on their device by `moves` (int64 [B, 3]; [B, 0] for none) of `draw_move`."""
    if not moves.shape[1]:
        return images
    rows, columns, flips = moves.unbind(1)
    if augment == "crop-flip":
        return crop_flip(images, rows, columns, flips.bool())
    return torch.where(flips.bool()[:, None, None, None], images.flip(3), images)
