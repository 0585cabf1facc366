"""Measure this project's work on the CUDA card that is found, and write `benchmarks/gpu.md` and `gpu.json`.

Both files are written anew after each row, so that nothing is lost when the program is stopped. Exit status: 0 done, 1 some
measurement failed (its row says why), 2 refused (no card, or an --out that cannot be).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.gpu.card import Card
from benchmarks.gpu.cells import CELLS
from benchmarks.gpu.commands import GRIDS, IMAGES
from benchmarks.gpu.determinism import DETERMINISM
from benchmarks.gpu.floors import FLOORS
from benchmarks.gpu.pruning import MASKS, SYNFLOW
from benchmarks.gpu.record import Record
from benchmarks.gpu.sizes import DRY, Sizes
from benchmarks.gpu.tasks import Part, run
from benchmarks.gpu.training import CAPTURED, COMPILED, EAGER, TEXTBOOK
from benchmarks.rows import network
from Utils.base.errors import RunFailed

PAGE = Path(__file__).resolve().parent.parent / "gpu.md"
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS reads it once; without it, torch refuses deterministic products
PARTS: dict[str, Part] = {
    "floors": FLOORS,
    "textbook": TEXTBOOK,
    "eager": EAGER,
    "captured": CAPTURED,
    "cells": CELLS,
    "synflow": SYNFLOW,
    "masks": MASKS,
    "determinism": DETERMINISM,
    "grids": GRIDS,
    "images": IMAGES,
    "compiled": COMPILED,  # last, as it is the slowest
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the flags."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=420, help="begin no measurement that may end later (default: 420)")
    parts = f"measure these of {', '.join(PARTS)}; the page keeps the others if they are of the same card (default: all)"
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=parts)
    parser.add_argument("--dry", action="store_true", help="go through all lines on the CPU; the numbers mean nothing")
    out = "the page, beside which FILE.json is written (default: benchmarks/gpu.md, with --dry in a temporary folder)"
    parser.add_argument("--out", type=Path, metavar="FILE.md", help=out)
    return parser


def page_of(options: argparse.Namespace) -> Path:
    """Return the path of the page.

    Raises:
        ValueError: `--out` is not a page, or is that of a card in a dry run.
    """
    if options.out is None:
        return Path(tempfile.mkdtemp(prefix="gpu-dry-")) / PAGE.name if options.dry else PAGE
    if options.out.suffix != ".md":
        raise ValueError(f"--out {options.out}: the name of a page ends in .md")
    if options.dry and options.out.resolve() == PAGE:
        raise ValueError(f"--out {options.out}: a dry run does not write there, its numbers mean nothing")
    return options.out


@contextmanager
def torch_set_up(card: Card) -> Iterator[None]:
    """Choose the card, and one CPU thread in a dry run; at the end the settings of the process are restored."""
    threads, before = torch.get_num_threads(), os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")
    if card.cuda:
        torch.cuda.set_device(card.device)
    else:
        torch.set_num_threads(1)
    network("fc")  # loads the parts that torch loads late
    gc.freeze()  # each collection would search all of it, for a quarter of a second
    try:
        yield
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
        if before is None:
            os.environ.pop(WORKSPACE, None)


def main(words: Sequence[str] | None = None) -> int:
    """Measure the parts that the flags ask for, and return the exit status."""
    ends = time.monotonic()
    options = build_parser().parse_args(words)
    ends += options.seconds
    if not options.dry and not torch.cuda.is_available():
        print("python -m benchmarks.gpu: error: there is no CUDA card; --dry goes through all lines on the CPU", file=sys.stderr)
        return 2
    card = Card(torch.device("cpu") if options.dry else torch.device("cuda", 0))
    with contextlib.ExitStack() as stack:
        try:
            page = page_of(options)
            stack.enter_context(torch_set_up(card))
            record = Record(page, card.about(), options.dry)
            record.write()
        except (ValueError, RunFailed) as error:
            print(f"python -m benchmarks.gpu: error: {error}", file=sys.stderr)
            return 2
        sizes = DRY if options.dry else Sizes()
        worked = [run(name, PARTS[name], card, sizes, record, ends) for name in dict.fromkeys(options.parts)]
    print(f"Written: {page}")
    return 0 if all(worked) else 1


if __name__ == "__main__":
    sys.exit(main())
