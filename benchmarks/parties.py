"""The sides of a comparison, each in its own process, so that neither disturbs the other's memory or threads."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any


def serve(party: str, connection: Connection) -> None:
    """Prepare rows on request and time their work, while the other processes are idle."""
    from benchmarks import rows

    if party == "ours":
        from Utils.compute.allocator import keep_freed_memory

        keep_freed_memory()  # as main.py does
        make = rows.ours
    elif party == "textbook":
        make = rows.by_the_book
    else:
        from benchmarks.original import Original

        make = Original(party).work
    work: Any = None
    while (order := connection.recv()) is not None:
        if order != "run":
            work = make(order)
            connection.send(None)
            continue
        began = time.perf_counter()
        result = work()
        connection.send((time.perf_counter() - began, result))


class Party:
    """One side of the comparison, in its own process."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=serve, args=(name, far), daemon=True)
        self._process.start()
        far.close()

    def ask(self, order: str | None) -> Any:
        """Send an order and wait for the answer; None ends the process."""
        self._pipe.send(order)
        return None if order is None else self._pipe.recv()
