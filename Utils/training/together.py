"""Passes of several networks at once: graphs on streams of a card, and chains of linear layers on a CPU.

Each network gets the numbers that it gets alone, bit for bit.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import NamedTuple

import torch

from Utils.training.chains import chain_kind, train_chains
from Utils.training.passes import Pass

AHEAD = 32  # steps of each network that a processor begins before the card has done them; their batches stay that long


class Answer(NamedTuple):
    """Whether a pass is done, or the error that it ended with, and the seconds in which this one and others were computed."""

    done: bool | Exception = False
    seconds: float = 0.0


def together(passes: Sequence[Pass]) -> list[Answer]:
    """Do passes that came at the same time, as far as they fit together, and answer each; others are left to their owners.

    Where images are decoded, passes fit together only if they read the same ones: each further reading would need processes of
    its own, and decoding takes longer than the steps.
    """
    answers = [Answer() for _ in passes]
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number, one in enumerate(passes):
        reading = one.source if one.source and one.source.decoded else None
        if one.graphs.active:
            groups[side_by_side, one.graphs.device, str(one.precision), reading].append(number)
        elif kind := chain_kind(one):
            groups[train_chains, kind, reading].append(number)
    for (work, *_), numbers in groups.items():
        if len(numbers) > 1:
            for number, answer in zip(numbers, _timed(work, [passes[n] for n in numbers]), strict=True):
                answers[number] = answer
    return answers


def _timed(work: Callable[[Sequence[Pass]], list[Exception | None]], passes: Sequence[Pass]) -> Iterator[Answer]:
    """Do `work` with the threads of the passes; an error of the whole is that of each pass."""
    device, threads, began = passes[0].graphs.device, torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(passes[0].threads)
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        ends = work(passes)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except Exception as error:
        ends = [error] * len(passes)
    finally:
        torch.set_num_threads(threads)
    took = time.perf_counter() - began
    return (Answer(end or True, took) for end in ends)


def side_by_side(passes: Sequence[Pass]) -> list[Exception | None]:
    """Take one step of each pass in turn, each on the stream of its own graphs, until all have ended.

    Passes of one source read the same batches, which are prepared once. An error ends its own pass.
    """
    ends: list[Exception | None] = [None] * len(passes)
    sources = {(p.source or id(p)): p.parts() for p in passes}
    left: dict[int, Pass] = dict(enumerate(passes))
    marks: deque[torch.cuda.Event] = deque()
    with passes[0].precision.computing(), ExitStack() as contexts:
        for one in passes:
            with one.graphs.beside():
                contexts.enter_context(one.between())
        while left:
            batches = {source: next(parts, None) for source, parts in sources.items()}
            for number, one in list(left.items()):
                if (batch := batches[one.source or id(one)]) is None:
                    del left[number]
                    continue
                (images, labels), whole = batch
                try:
                    with one.graphs.beside(images, labels), redirect_stdout(one.output[0]), redirect_stderr(one.output[1]):
                        one.step(images, labels, whole)
                except Exception as error:  # of a user's network anything
                    ends[number] = error
                    del left[number]
            marks += [mark for one in left.values() if (mark := one.graphs.mark())]
            while len(marks) > AHEAD * len(passes):
                marks.popleft().synchronize()
        for one in passes:
            one.graphs.join()
    return ends
