"""Attribution of events: operators to the operators around them, device work to the operators that launched it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from Utils.trace.events import DEVICE, KERNEL, LAUNCH, MARK, OP, Event
from Utils.trace.kernel_classes import CONVOLUTIONS, COPIES, OTHER, of_kernel, of_operator

LAUNCHED, EXTERNAL, NAME = "launch", "external id", "name"  # how the operator or the class of a kernel was found


def attribute(events: Iterable[Event]) -> None:
    """Fill in `parent`, `work`, `layer`, `launched`, `found_by` and `contradicted` of all events.

    A kernel belongs to the operator around the call that launched it. The call has the same correlation as the kernel; the
    operator is the innermost one that is open on the thread of that call.

    The external id of a kernel, where it names exactly one operator, gives the same answer by number. Where the two answers
    differ, the clock of the calls was off, and the external id decides. The external id also decides where the call was not
    recorded or lies in no operator.

    The class of a kernel is read from its own name, and `found_by` is NAME, in three cases: it has neither call nor id, a graph
    launched it, or the names of its operators give no class (compiled regions, functions of the user).
    """
    events = list(events)
    _nest(events)
    device = [e for e in events if e.kind in DEVICE]
    launches: dict[int, Event] = {}
    for event in events:
        if event.kind == LAUNCH and event.correlation is not None:
            launches.setdefault(event.correlation, event)
    operators, unique = _by_external_id(events) if device else ({}, frozenset())
    for event in device:
        _find_origin(event, launches, operators, unique)


def _nest(events: Iterable[Event]) -> None:
    """Give each event of the host the innermost operator or annotation around it, on the same thread."""
    threads: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in (OP, MARK, LAUNCH):
            threads[event.thread].append(event)
    for own in threads.values():
        # Of events that start together, the longer one is outside; of equally long ones, the one with the smaller id.
        own.sort(key=lambda e: (e.start, e.kind == LAUNCH, -e.end, e.kind == OP, e.external or 0))
        around: list[Event] = []
        for event in own:
            while around and not _is_inside(event, around[-1]):
                around.pop()
            if around:
                event.parent = around[-1]
                event.work, event.layer = event.parent.work, event.parent.layer
            if event.kind == OP:
                _set_work(event)
            if event.kind != LAUNCH:
                around.append(event)


def _is_inside(event: Event, outer: Event) -> bool:
    """Tell whether `outer` was open when `event` began, and not merely because whole microseconds were rounded."""
    return event.start < outer.end and (event.end <= outer.end or outer.end - event.start >= event.length / 2)


def _set_work(event: Event) -> None:
    """Give the class of the outermost operator that has one to all operators inside; a convolution keeps its own class."""
    own = of_operator(event.name)
    if own in CONVOLUTIONS and event.work not in CONVOLUTIONS:
        event.work, event.layer = own, event
    elif event.work in (None, OTHER):
        event.work = own or event.work


def _by_external_id(events: list[Event]) -> tuple[dict[int, Event], frozenset[int]]:
    """Return the operators by the id that kernels and launches refer to, and the ids that exactly one operator has.

    Both are empty where kernels refer to something else: PyTorch 1.12 to 2.0 wrote the correlation there instead, which may equal
    the id of any operator. Traces of several processes in one file use the same ids again.
    """
    named = [e for e in events if e.external is not None and (e.kind in DEVICE or e.kind == LAUNCH)]
    recorded = any(e.kind == LAUNCH for e in events)
    if recorded and sum(e.external == e.correlation for e in named) > len(named) / 2:
        return {}, frozenset()
    counts = Counter(e.external for e in events if e.kind == OP and e.external is not None)
    operators = {e.external: e for e in events if e.kind == OP and e.external is not None}
    return operators, frozenset(i for i, count in counts.items() if count == 1)


def _find_origin(event: Event, launches: dict[int, Event], operators: dict[int, Event], unique: frozenset[int]) -> None:
    """Set the operator, the class and the launch of one activity of the device."""
    launch = launches.get(event.correlation)
    event.parent = launch.operator if launch else None
    event.found_by = LAUNCHED if event.parent else NAME
    external = event.external or (launch.external if launch else None)
    named = operators.get(external)
    # An id that equals the correlation may come from an older PyTorch, which wrote the correlation in its place.
    event.contradicted = event.parent not in (None, named) and external in unique and external != event.correlation
    if named is not None and (event.parent is None or event.contradicted):
        event.parent, event.found_by = named, EXTERNAL
    origin = event.parent if event.contradicted else launch or event.parent
    event.launched = origin.start if origin else None
    if event.parent is not None:
        event.work, event.layer = event.parent.work, event.parent.layer
    if event.kind != KERNEL:
        event.work = COPIES
    elif event.work is None or (launch is not None and "graphlaunch" in launch.name.lower()):
        event.work, event.layer, event.found_by = of_kernel(event.name), None, NAME
