"""The processes that torchrun starts, called ranks: how they meet, which of them prints, and how they end together.

If K processes refuse or fail, one of them prints the reason in one line, and all end with the same exit status. In a single
process each function here does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from typing import Any, NoReturn

from Utils.base.errors import Refused, status_of
from Utils.base.text import one_line
from Utils.compute.processes import share

INIT_METHOD = "env://"  # torchrun sets the environment variables
LONG = timedelta(days=30)  # rank 0 may wait for days for a network that another run trains; a rank's death is noticed anyway
GRACE = timedelta(seconds=10)  # in which rank 0 may be the first to report
PATIENCE = 30  # seconds for rank 0 to end before this process, where the two are not connected
FAILURE = "pruning/failure"

_store: Any = None  # the first rank that fails writes its number, exit status and reason there


def launched() -> tuple[int, int]:
    """Return (rank, ranks) as torchrun sets them, known before torch is imported."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys() or os.environ["WORLD_SIZE"] == "1":
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def said_once() -> Iterator[None]:
    """Let rank 0 alone print and refuse inside, for checks that every rank makes before the ranks have met."""
    rank, ranks = launched()
    if ranks > 1:
        # Hides torch's warnings; one says that a graph without unused parameters need not be searched for them.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if rank == 0:
        yield
        return
    try:
        with _silence():
            yield
    except (Refused, SystemExit) as error:
        _end_after_first(status_of(error))


def _end_after_first(status: int) -> NoReturn:
    """Wait for rank 0 to report before this rank ends: torchrun terminates all others as soon as one process fails."""
    if status == 0:
        sys.exit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    time.sleep(PATIENCE)
    sys.exit(status)


@contextmanager
def process_group(no_cuda: bool) -> Iterator[None]:
    """Join the other ranks, and leave them at the end.

    When one fails, its exception passes through here on the rank that reports it, and becomes `SystemExit` on the others.
    """
    global _store
    rank, ranks = launched()
    if ranks == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available() and not no_cuda
    if rank:
        # This rank has nothing to unwind, and Python cannot interrupt the wait for a GPU.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _store = next(dist.rendezvous(INIT_METHOD, rank, ranks))[0]
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=_store, rank=rank, world_size=ranks, timeout=LONG)
    try:
        with _silence() if rank else nullcontext(), warnings.catch_warnings():
            # torch warns of 1x1 convolutions in channels-last format, where both strides mean the same memory.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield
    except BaseException as error:
        _give_way(error)
        raise  # this process does not leave the group: its end tells the others that it is gone, and nccl would wait for them
    dist.destroy_process_group()


def _give_way(error: BaseException) -> None:
    """Return if this rank is the one to report why all stop; else exit, after rank 0 if that is the one."""
    import torch
    import torch.distributed as dist

    rank = share()[0]
    if rank:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would hide the exit status
    if rank and isinstance(error, KeyboardInterrupt):
        raise SystemExit(status_of(error)) from None  # at once: rank 0 may be waiting for this one and cannot see the same Ctrl-C
    if isinstance(error, SystemExit):  # from `decided`: rank 0 has refused or failed
        first, status = 0, status_of(error)
    else:
        first, status, _ = _note(status_of(error), one_line(str(error)))
    if first == rank:
        return
    if first == 0:
        with suppress(RuntimeError):
            dist.recv(torch.zeros(1), 0)  # rank 0 sends nothing: this call ends when rank 0 does
    raise SystemExit(status) from None


def common_reason(reason: str, error: Exception) -> str:
    """Return why a run fails: `reason`, unless another rank failed first and `error` is only the consequence."""
    if share()[1] == 1:
        return reason
    if any(words in str(error) for words in ("closed by peer", "reset by peer", "NCCL")):
        reason = "another process of this run ended without a word"
    first, _, reason = _note(1, reason)
    return reason if first == share()[0] else f"process {first}: {reason}"


def _note(status: int, reason: str) -> tuple[int, int, str]:
    """Return (rank, exit status, reason) of the first rank that failed: this one, if no other did before."""
    rank = share()[0]
    first = f"{rank} {status} {reason}"
    with suppress(RuntimeError):  # no rank has failed in that time, or the store is gone with its process
        if rank:
            _store.wait([FAILURE], GRACE)
    with suppress(RuntimeError):
        first = _store.compare_set(FAILURE, "", first).decode()
    number, status_text, reason = first.split(" ", 2)
    return int(number), int(status_text), reason


@contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
