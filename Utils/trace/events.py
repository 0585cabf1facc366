"""Events of a trace, and the meaning of the fields of a chrome trace, in the spellings of PyTorch 1.8 to now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

OP, MARK, LAUNCH, KERNEL, MEMCPY, MEMSET = "operator", "annotation", "launch", "kernel", "memcpy", "memset"
DEVICE = frozenset({KERNEL, MEMCPY, MEMSET})
# Categories in lower case, words joined by "_". All other categories are not work: `gpu_user_annotation` and `cuda_sync` lie
# on the rows of the device without running there; `overhead` and `Trace` describe the profiler.
KINDS = {
    "cpu_op": OP, "operator": OP, "user_annotation": MARK, "kernel": KERNEL, "gpu_kernel": KERNEL, "cuda_kernel": KERNEL,
    "concurrent_kernel": KERNEL, "gpu_memcpy": MEMCPY, "memcpy": MEMCPY, "gpu_memset": MEMSET, "memset": MEMSET,
}  # fmt: skip
CALLS = re.compile(r"(.*_)?(runtime|driver)$")  # cuda_runtime, cuda_driver, Runtime, xpu_runtime, privateuse1_driver, ...
MODULE = "nn.Module: "  # python_function events of modules, with_stack=True
STEP = re.compile(r"ProfilerStep#(\d{1,18})$")
DAY = 86_400 * 10**9  # nanoseconds; a longer event or a larger distance comes from a broken clock
LARGEST = 10**18  # microseconds; far beyond any date, and small enough to convert without a huge power of ten


@dataclass(slots=True, eq=False)
class Event:
    """A stretch of time with a name.

    Attributes:
        kind: one of the words above.
        start: the beginning in whole nanoseconds, as doubles cannot hold a date to the nanosecond.
        end: the end, likewise.
        thread: process and thread, or device and stream.
        parent: the nearest enclosing event of the same thread; for work of the device, the operator that launched it.
        work: the class of work.
        layer: the outermost enclosing convolution.
        launched: the time at which the host launched the work on the device.
        found_by: how `attribution` found the operator or the class.
        contradicted: whether launch and external id name different operators.

    `attribution` fills in `parent` and all fields after it.
    """

    kind: str
    name: str
    start: int
    end: int
    thread: tuple[str, str]
    correlation: int | None = None
    external: int | None = None
    shapes: tuple[tuple[int, ...], ...] | None = None
    sequence: int | None = None
    parent: Event | None = None
    work: str | None = None
    layer: Event | None = None
    launched: int | None = None
    found_by: str = ""
    contradicted: bool = False

    @property
    def length(self) -> int:
        """Nanoseconds from start to end."""
        return self.end - self.start

    @property
    def operator(self) -> Event | None:
        """The nearest enclosing operator."""
        above = self.parent
        while above is not None and above.kind != OP:
            above = above.parent
        return above


def nanoseconds(value: Any) -> int:
    """Convert microseconds, given as a number or as text, to nanoseconds, exactly.

    Raises:
        ValueError: the value is not a finite number, or lies beyond all times.
    """
    if type(value) is int:
        return value * 1000
    if type(value) is str:
        whole, _, fraction = value.partition(".")
        if whole.isdecimal() and fraction.isdecimal():
            return int(whole) * 1000 + int(fraction[:3].ljust(3, "0"))
    try:
        found = Decimal(str(value))
        if abs(found) < LARGEST:
            return round(found * 1000)
    except ArithmeticError as error:
        raise ValueError(value) from error
    raise ValueError(value)


def kind_of(category: Any, name: str, pid: Any) -> str | None:
    """Return the kind of an event; None for an event that neither is work nor encloses any."""
    if category is None:  # the profiler of PyTorch 1.7 and older
        return {"CPU functions": OP, "CUDA functions": KERNEL}.get(str(pid))
    words = re.sub(r"[ -]+", "_", str(category).partition(",")[0].strip()).lower()
    kind = KINDS.get(words)
    if kind is OP and (STEP.match(name) or (words == "operator" and "::" not in name and "Backward" not in name)):
        return MARK  # PyTorch 1.8 and 1.9 had no category for annotations
    if kind is None and CALLS.match(words):
        return LAUNCH
    return MARK if words == "python_function" and name.startswith(MODULE) else kind


def number(value: Any) -> int | None:
    """Return an identifier; None where there is none, which CUPTI and kineto also write as 0."""
    try:
        return int(value) or None
    except (TypeError, ValueError, OverflowError):
        return None
