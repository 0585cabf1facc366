"""A program to be run by hand: every classifier of torchvision, dense, has effective density 1.

`python tests/dense_classifiers.py [--only NAME ...]` prints a line for each: the seconds, the effective density over the weights that
evaluation uses, the layers that it does not use, and whether an emptied first layer is told as no path. Exit status 1 where a
density is not 1, or where an emptied network has a path.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
import torchvision

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from Models.effective import find_paths
from Models.masking import add_masks
from Models.reach import has_path

PIXELS = {"inception_v3": 96, "alexnet": 80, "vit_h_14": 28, "maxvit_t": 224}  # height and width of images; else 64


def check(name: str) -> bool:
    """Check one network; prints the line."""
    torch.manual_seed(0)
    pixels = PIXELS.get(name, 64)
    more = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    more |= {"image_size": pixels} if name.startswith("vit") else {"input_size": (pixels, pixels)} if name == "maxvit_t" else {}
    model, shape = torchvision.models.get_model(name, num_classes=3, **more), (3, pixels, pixels)
    prunables = add_masks(model)
    began = time.perf_counter()
    paths = find_paths(model, prunables, shape)
    seconds = time.perf_counter() - began
    used = [p for p in prunables if p.name not in paths.unused]
    density = sum(int(paths.live[p.name].sum()) for p in used) / sum(p.mask.numel() for p in used)
    for p in prunables:
        p.mask.zero_()
    closed = not has_path(model, prunables, shape)
    dead = [p.name for p in used if not paths.live[p.name].all()]
    print(f"{name}: {seconds:.2f} s, density {density:.6f}, unused {sorted({n.split('.')[0] for n in paths.unused})}, "
          f"closed {closed} {dead[:3]}", flush=True)  # fmt: skip
    return density == 1 and closed and (name in ("googlenet", "inception_v3")) == bool(paths.unused)


def main() -> int:
    """Check all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=torchvision.models.list_models(module=torchvision.models))
    names = parser.parse_args().only
    results = [check(name) for name in names]
    print(f"{sum(results)} of {len(results)} are live in every weight")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
