"""The reader of a trace file: a chrome trace in JSON as torch.profiler writes it, plain or gzipped.

It reads the text event by event and drops every event that is not work at once. 215 MB of JSON, 890 000 events, took 9 s and
490 MB of memory on one CPU core; nearly all of the memory held the text.
"""

from __future__ import annotations

import gc
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.inputs import read_input
from Utils.base.text import one_line
from Utils.trace.cursor import Cursor, members
from Utils.trace.escapes import escaped
from Utils.trace.events import DAY, DEVICE, LAUNCH, MARK, OP, STEP, Event, kind_of, nanoseconds, number

LARGEST = 1 << 30  # bytes of a trace, unpacked
NEAR = 200  # characters before an error in which a backslash may be its cause
HINT = "; a backslash stands shortly before it: those of a Windows path have to be doubled"
BYTES = re.compile(r"[\x80-\xff]+")


@dataclass
class Trace:
    """The content of a trace file.

    Attributes:
        path: the file.
        events: the events of work, in the order of the file.
        devices: the names of the devices, by number.
        other: the number of events that are not work, by category.
        broken: the number of events without a plausible time.
        undecoded: whether characters beyond ASCII are single bytes of UTF-8 (see `_text`).
        repaired: the number of strings whose backslashes were not escaped (see `escaped`).
    """

    path: str
    events: list[Event]
    devices: dict[str, str]
    other: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    undecoded: bool = False
    repaired: int = 0


def read(path: str | Path) -> Trace:
    """Read a trace.

    Raises:
        Refused: the file cannot be read, is not JSON, is cut off, is no chrome trace, or holds no work.
    """
    text, undecoded = _text(path)
    trace = Trace(str(path), [], {}, undecoded=undecoded)
    try:
        try:
            _collect(trace, text)
        except json.JSONDecodeError:
            text, repaired = escaped(text)
            if not repaired:
                raise
            trace = Trace(str(path), [], {}, undecoded=undecoded, repaired=repaired)
            _collect(trace, text)
    except json.JSONDecodeError as error:
        count = len(trace.events) + trace.other.total() + trace.broken
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise Refused(f"{path} is cut off after {count} events: it was not written or copied to its end") from error
        hint = HINT if "\\" in text[max(0, error.pos - NEAR) : error.pos + 1] else ""
        raise Refused(f"{path} is not JSON: {error.msg} at character {error.pos}, after {count} events{hint}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not a trace in JSON: {error}") from error
    _drop_outliers(trace)
    if not any(e.kind == OP or e.kind in DEVICE for e in trace.events):
        found = ", ".join(f"{count} {one_line(category)}" for category, count in trace.other.most_common(5)) or "none"
        raise Refused(f"{path} holds no operators and no kernels, so there is no work to measure (events: {found})")
    return trace


def _text(path: str | Path) -> tuple[str, bool]:
    """Return the file's text, and whether each byte beyond ASCII became one character.

    One character per byte keeps a large text small; `_decoded` restores the letters later.
    """
    try:
        content = read_input(Path(path), LARGEST)
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(LARGEST + 1)  # a file of spaces packs to a thousandth of its size
            if len(content) > LARGEST:
                raise Refused(f"{path} is too large to be read: it unpacks to more than {LARGEST >> 20} MiB")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(f"{path} is a damaged gzip file ({error}): it was not written or copied to its end") from error
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror or error}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace"), False
    text = content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    if not text.strip():
        raise Refused(f"{path} is empty")
    return text, not content.isascii()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch the search for reference cycles off inside, as it would go over all events again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _collect(trace: Trace, text: str) -> None:
    """Put the events of `text` into `trace`."""
    with _no_collection():
        _collect_all(trace, text)


def _collect_all(trace: Trace, text: str) -> None:
    opened: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for key, value in members(Cursor(text)):
        if key == "deviceProperties" and isinstance(value, list):
            named = (d for d in value if isinstance(d, dict) and {"id", "name"} <= d.keys())
            trace.devices = {_word(trace, d["id"]): _word(trace, d["name"]) for d in named}
        elif key is None:
            phase = value.get("ph") if isinstance(value, dict) else None
            if phase == "X":
                _add(trace, value)
            elif phase in ("B", "E"):
                begun = opened[str(value.get("pid")), str(value.get("tid"))]
                if phase == "B":
                    begun.append(value)
                elif begun:
                    _add(trace, begun.pop(), value.get("ts"))
                else:
                    trace.broken += 1
            else:
                trace.other[str(value.get("cat") or phase) if isinstance(value, dict) else "no event"] += 1
    trace.broken += sum(len(begun) for begun in opened.values())


def _add(trace: Trace, found: dict[str, Any], end: Any = None) -> None:
    """Keep a complete event; `end` is the time of the event that ended it, where it has no duration of its own."""
    name = _word(trace, found.get("name"))
    kind = kind_of(found.get("cat"), name, found.get("pid"))
    if kind is None:
        trace.other[str(found.get("cat"))] += 1
        return
    if kind == MARK and name.startswith("ProfilerStep#") and not STEP.match(name):
        trace.broken += 1
        return
    args = found.get("args")
    args = args if isinstance(args, dict) else {}
    try:
        start = nanoseconds(found.get("ts"))
        stop = nanoseconds(end) if end is not None else start + nanoseconds(found.get("dur"))
    except ValueError:
        trace.broken += 1
        return
    if not 0 <= stop - start < DAY or abs(start) > 2**62:
        trace.broken += 1
        return
    event = Event(kind, name, start, stop, _place(trace, found, args, kind))
    if kind in (OP, LAUNCH) or kind in DEVICE:
        event.correlation = number(args.get("correlation"))
        event.external = number(args.get("External id", args.get("external id")))
    if kind == OP:
        sequence = args.get("Sequence number")
        event.sequence = sequence if type(sequence) is int and sequence >= 0 else None
        if "conv" in name:
            event.shapes = _shapes(args.get("Input Dims", args.get("Input dims")))
    trace.events.append(event)


def _word(trace: Trace, name: Any) -> str:
    """Return a printable name; all events of that name share one string."""
    name = str(name)
    if trace.undecoded and not name.isascii():
        name = BYTES.sub(_decoded, name)
    return sys.intern(one_line(name))


def _decoded(found: re.Match[str]) -> str:
    """Decode these bytes as UTF-8; where they are not UTF-8, they are letters that JSON had escaped, and stay."""
    try:
        return found[0].encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return found[0]


def _place(trace: Trace, found: dict[str, Any], args: dict[str, Any], kind: str) -> tuple[str, str]:
    """Return process and thread, or device and stream."""
    pid, tid = found.get("pid"), found.get("tid")
    if kind in DEVICE:
        pid, tid = args.get("device", pid), args.get("stream", str(tid).removeprefix("stream "))
    return _word(trace, pid), _word(trace, tid)


def _shapes(dims: Any) -> tuple[tuple[int, ...], ...] | None:
    """Return the recorded shapes of the inputs; an input that is no tensor has the shape ()."""
    if isinstance(dims, str):  # PyTorch 1.8 wrote text
        try:
            dims = json.loads(dims)
        except ValueError:
            return None
    if not isinstance(dims, list):
        return None
    plain = [d if isinstance(d, list) and all(type(n) is int for n in d) else [] for d in dims]
    return tuple(tuple(d) for d in plain) if any(plain) else None


def _drop_outliers(trace: Trace) -> None:
    """Leave out events a day or more away from the middle one: a device without a clock writes 0."""
    starts = sorted(e.start for e in trace.events)
    if starts:
        middle = starts[len(starts) // 2]
        kept = [e for e in trace.events if abs(e.start - middle) < DAY]
        trace.broken += len(trace.events) - len(kept)
        trace.events = kept
