"""Persistent worker processes, each running one cell or a stack of cells. A worker that dies loses its cells and is replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from tqdm import tqdm

from Utils.base import signals
from Utils.base.errors import Terminated
from Utils.grid.cell import Outcome, record_failure
from Utils.options.types import Cell, Options

GRACE = 1.5  # seconds that workers have to leave when the grid is interrupted
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> int:
    """Count the CPU cores that this process may use; OMP_NUM_THREADS may lower the number."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, int(asked)) if asked.isdigit() and int(asked) else own


class Workers:
    """`jobs` processes, for use in a `with` block; each has its share of the CPU cores and, in turn, one of the GPUs.

    Each has up to `size` cells at once.
    """

    def __init__(self, jobs: int, size: int = 1) -> None:
        self.jobs, self.size = jobs, size
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        tqdm.set_lock(threading.RLock())  # tqdm's own lock is a semaphore that a killed worker would leave behind
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a worker that died idle must not end the grid
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        end = time.monotonic() + GRACE
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def run(
        self, cells: Sequence[Cell], choose: Callable[[Sequence[Cell], Sequence[Cell]], Cell]
    ) -> Iterator[tuple[Cell, Outcome]]:
        """Run all cells, and yield each when it has ended. `choose(waiting, running)` returns the next one."""
        waiting = list(cells)
        if not self._workers:  # the share of threads, which affects every number, depends only on `jobs`
            for slot in range(min(self.jobs, len(waiting))):
                self._workers.append(_Worker(slot, self))  # one by one, so that a signal between them ends those before
        while waiting or self.running:
            self._give(waiting, choose)
            ended, again = self._ended()
            waiting += again
            self._give(waiting, choose)  # before the caller reads how many are running
            yield from ended

    def _give(self, waiting: list[Cell], choose: Callable[[Sequence[Cell], Sequence[Cell]], Cell]) -> None:
        """Give cells to the workers that have fewest, until each has its number or none is left."""
        while waiting:
            cell = choose(waiting, [cell for w in self._workers for cell in w.cells.values()])
            slots = [slot for slot, worker in enumerate(self._workers) if worker.has_room(cell, self.size)]
            if not slots:
                return
            slot = min(slots, key=lambda slot: len(self._workers[slot].cells))
            worker = self._workers[slot]
            if not worker.cells and not worker.process.is_alive():
                worker = self._workers[slot] = _Worker(slot, self)
            waiting.remove(cell)
            worker.give(cell)

    @property
    def running(self) -> int:
        """The number of cells that are running."""
        return sum(len(w.cells) for w in self._workers)

    def _ended(self) -> tuple[list[tuple[Cell, Outcome]], list[Cell]]:
        """Wait for news; return the cells that have ended, and those to run again, one by one.

        If a worker dies with several cells, it is not known which of them is to blame.
        """
        busy = [w for w in self._workers if w.cells]
        ready = wait([w.connection for w in busy] + [w.process.sentinel for w in busy])
        ended: list[tuple[Cell, Outcome]] = []
        again: list[Cell] = []
        for slot, worker in enumerate(self._workers):
            if worker.cells and (worker.connection in ready or worker.process.sentinel in ready):
                news = worker.news()
                if news is not None:
                    ended.append(news)
                    continue
                left, self._workers[slot] = list(worker.cells.values()), _Worker(slot, self)
                if len(left) == 1:
                    ended.append((left[0], record_failure(left[0].options, worker.cause_of_death())))
                else:
                    again += [replace(cell, options=replace(cell.options, stack=1)) for cell in left]
        return ended, again


class _Worker:
    """One process and the pipe to it; `cells` are those that it has, by name."""

    def __init__(self, slot: int, workers: Workers) -> None:
        context, jobs = multiprocessing.get_context("spawn"), workers.jobs
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, slot, jobs, workers.size, list(sys.path)))
        self.cells: dict[str, Cell] = {}
        try:
            with _environment({name: str(max(1, cores() // jobs)) for name in THREAD_VARIABLES}), _sigint_blocked():
                self.process.start()
        except BaseException:  # a signal: nobody else knows this process, and the end of the program would wait for it
            self.connection.close()
            if self.process.pid is not None:
                self.join(0)
            raise
        finally:
            theirs.close()

    def give(self, cell: Cell) -> None:
        self.cells[cell.name] = cell
        with contextlib.suppress(OSError):  # a worker that died meanwhile is noticed when its answer is awaited
            self.connection.send((cell.name, cell.options))

    def has_room(self, cell: Cell, size: int) -> bool:
        """Tell whether the worker may get `cell`: it has fewer than `size`, and one that runs alone has it for itself."""
        alone = 1 in (cell.options.stack, *(other.options.stack for other in self.cells.values()))
        return not self.cells or (len(self.cells) < size and not alone)

    def news(self) -> tuple[Cell, Outcome] | None:
        """Return the next cell that has ended; None if the process died."""
        try:
            name, outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        return self.cells.pop(name), outcome

    def cause_of_death(self) -> str:
        """Say how the process ended."""
        code = self.process.exitcode or 0
        return f"its worker process died ({f'signal {-code}' if code < 0 else f'exit status {code}'})"

    def stop(self) -> None:
        """Ask the process to end: at once if it is running cells, whose checkpoints remain."""
        if self.cells:
            self.process.terminate()
        self.connection.close()

    def join(self, seconds: float) -> None:
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started in this block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT in processes that are started in this block: the parent receives it and tells them what to do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, slot: int, jobs: int, size: int, path: list[str]) -> None:
    """Run the cells that arrive through the pipe until it is closed; the worker ends with its parent in any case."""
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.install(signal.SIGTERM)  # unwinds, so that no half-written file stays
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    from Utils.compute.allocator import keep_freed_memory
    from Utils.data.open_set import Datasets
    from Utils.grid.stack import Stack

    keep_freed_memory()
    try:
        with Stack(size, Datasets(jobs)) as stack:
            while True:
                while not len(stack) or connection.poll():
                    name, options = connection.recv()
                    stack.add(name, _on_own_gpu(options, slot))
                for ended in stack.go_on():
                    connection.send(ended)
    except (EOFError, OSError):
        pass  # the grid has ended
    except Terminated:
        signals.leave(143)


def _on_own_gpu(options: Options, slot: int) -> Options:
    """Return the options with the card of this worker, if cards are used."""
    import torch

    if options.no_cuda or not torch.cuda.is_available():
        return options
    return replace(options, gpu=((options.gpu or 0) + slot) % torch.cuda.device_count())
