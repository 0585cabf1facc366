"""A program to be run by hand: every network of the registry, pruned by several methods, is cut and computes the same.

`python tests/every_model.py [--only NAME ...] [--pixels N]` prints a line for each network, method and density: the weights kept and
effective, parameters and MACs before and after, the largest difference of the outputs. Exit status 1 where one is 1e-5 or
more. A network without a path from input to output is named constant. Large networks take images of 64 pixels, not 224, or `--pixels`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import Pruners
from Models import registry
from Models.compact import compact
from Models.difference import largest_difference
from Models.effective import find_paths
from Models.masking import add_masks, apply_masks
from Models.reach import has_path
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Utils.measure.counting import multiply_adds

DENSITIES, METHODS = (0.1, 0.01, 0.001), ("synflow", "snip", "rand")
TORCHVISION = ("resnet18", "mobilenet_v2", "vgg16_bn")
LARGE = 64  # pixels
LARGE_NETWORK = 10_000_000  # parameters
ROUNDS, FEW = 20, 10  # of SynFlow, whose own number is 100; few for large networks


def networks(pixels: int) -> list[tuple[str, str, tuple[int, int, int]]]:
    """(name, class, image shape); resnet1202 is left out: it takes minutes."""
    found = [(n, kind, registry.NATURAL[kind][0]) for kind, names in registry.CLASSES.items() for n in names]
    found += [(name, registry.TORCHVISION, (3, pixels, pixels)) for name in TORCHVISION]
    small = [(n, k, (s[0], min(s[1], pixels), min(s[2], pixels))) for n, k, s in found]
    return [(n, k, s) for n, k, s in small if "1202" not in n]


def check(name: str, kind: str, shape: tuple[int, int, int], method: str, density: float) -> bool:
    """Prune, cut and compare one network; prints the line; False where the outputs differ."""
    began = time.perf_counter()
    torch.manual_seed(1)
    model = registry.build(name, kind, shape, 10)
    images, labels = torch.randn(20, *shape), torch.arange(20) % 10
    problem = Problem(model, add_masks(model), shape, read_batches=lambda: [(images, labels)])
    rounds = 1 if method != "synflow" else ROUNDS if sum(p.numel() for p in model.parameters()) < LARGE_NETWORK else FEW
    prune_loop(problem, Pruners.load(method)(), density, rounds=rounds)
    apply_masks(problem.prunables)
    heading = f"{kind} {name} {method} {density:g}:"
    if not has_path(model, problem.prunables, shape):
        print(f"{heading} constant", flush=True)
        return True
    paths = find_paths(model, problem.prunables, shape)
    kept, live = sum(int(m.sum()) for m in problem.masks), sum(int(paths.live[p.name].sum()) for p in problem.prunables)
    small = compact(model, problem.prunables, paths, shape)
    difference = largest_difference(model, small.model, torch.randn(4, *shape))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (small.model, model)]
    macs = multiply_adds(small.model, shape) / multiply_adds(model, shape)
    print(f"{heading} kept {kept}, effective {live}, parameters {sizes[0]}/{sizes[1]}, MACs {macs:.4f}, "
          f"difference {difference:.1e}, {time.perf_counter() - began:.1f} s", flush=True)  # fmt: skip
    return difference < 1e-5


def main() -> int:
    """Check all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=LARGE, help="height and width of images that are larger by nature")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks: NAME or CLASS/NAME")
    options = parser.parse_args()
    only = options.only
    chosen = [network for network in networks(options.pixels) if not only or {network[0], f"{network[1]}/{network[0]}"} & set(only)]
    results = [check(*network, method, density) for network in chosen for method in METHODS for density in DENSITIES]
    print(f"{sum(results)} of {len(results)} compute the same")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
