"""Stand-ins for the classes and functions that a pickle names, so that its other content is read and none of them is run."""

from __future__ import annotations

import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

PICKLES = 4  # torch's old format writes a number, a version and the system's sizes before the content
NUMBER = re.compile(r"[biufc]\d{1,2}")  # the numpy types that are plain numbers
LONGEST = 120  # letters of a text that describes a stand-in
MAPPING, LIST = "mapping", "list"
GETATTR = ("builtins.getattr", "__builtin__.getattr")


class StandIn:
    """An object of a class, or the result of a function, that was not imported and not run.

    Attributes:
        name: the class or function, `package.module.Class`.
        args: what it was to be called with.
        state: the attributes that it was to get.
    """

    name = ""

    def __init__(self, *args: Any) -> None:
        self.args, self.state = args, None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __str__(self) -> str:
        words = [_short(value) for value in self.args]
        if isinstance(self.state, dict):
            words += [f"{key}={_short(value)}" for key, value in self.state.items()]
        text = f"{self.name}({', '.join(words)})"
        return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."

    __repr__ = __str__


class _Made(StandIn):
    """A stand-in made by the pickle's instruction for new objects, which calls no `__init__`."""

    def __new__(cls, *args: Any) -> _Made:
        """Return the object with its arguments."""
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made


class Result(_Made):
    """The stand-in of what another stand-in gave, such as a method; it can be called in turn."""

    name = "a method or an inner class"


class _Attribute:
    """The stand-in of `getattr`, with which pickles name methods and inner classes."""

    def __new__(cls, *_: Any) -> type[Result]:
        """Return the class that can be called."""
        return Result


class _Mapping(OrderedDict):
    """The stand-in of a class of dictionaries: a plain dictionary, without its other state."""

    def __new__(cls, *args: Any) -> OrderedDict:
        """Return a dictionary of torch's own list, which its reader fills."""
        return OrderedDict()


class _List(list):
    """The stand-in of a class of lists."""

    def __init__(self, *args: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Drop the state: the items are what counts."""


def stand_in(name: str, kind: str = "") -> type:
    """Make the class that stands for `name`; of the `kind` MAPPING or LIST, its objects take items."""
    base = _Attribute if name in GETATTR else {MAPPING: _Mapping, LIST: _List}.get(kind, _Made)
    return type(name.rpartition(".")[2], (base,), {"name": name, "__module__": "stand_in", "__qualname__": name})


def globals_in(pickle: BinaryIO) -> set[str]:
    """Return the names of all classes and functions in a pickle, or in the pickles of torch's old format, without running it."""
    found: set[str] = set()
    for _ in range(PICKLES):
        try:
            for operation, argument, _ in pickletools.genops(pickle):
                if operation.name == "GLOBAL":
                    found.add(str(argument).replace(" ", ".", 1))
        except Exception:  # the end, or what is no pickle
            break
    return found


def in_python_3(name: str) -> str:
    """Return the present name of a class or function that Python 2 knew by another, as pickles do up to protocol 2."""
    module, _, last = name.rpartition(".")
    module, last = NAME_MAPPING.get((module, last), (IMPORT_MAPPING.get(module, module), last))
    return f"{module}.{last}"


def resolved(value: Any) -> Any:
    """Return `value` with numpy's numbers and arrays in place of their stand-ins; all else stays as it is."""
    if isinstance(value, StandIn):
        found = _numpy(value)
        return value if found is None else found
    if type(value) in (dict, OrderedDict):
        for key in value:
            value[key] = resolved(value[key])
        return value
    if type(value) in (list, tuple):
        return type(value)(map(resolved, value))
    return value


def stand_ins_in(value: Any, at: str = "") -> dict[str, str]:
    """Return the place of each stand-in in `value`, such as `args` or `best.time`, and its name."""
    if _stands_in(value):
        return {at: value.name}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    found: dict[str, str] = {}
    for key, part in parts:
        if _stands_in(part) or isinstance(part, dict | list | tuple):
            found |= stand_ins_in(part, f"{at}.{key}" if at else str(key))
    return found


def _stands_in(value: Any) -> bool:
    """Tell whether a value is a stand-in, or its class, which stands for a class or a function that nothing calls."""
    return isinstance(value, StandIn) or (isinstance(value, type) and issubclass(value, StandIn))


def _numpy(value: StandIn) -> Any:
    """Return the number or the array that numpy was to make, or None."""
    try:
        if value.name.endswith("multiarray.scalar"):
            dtype, content = value.args
            return np.frombuffer(content, _dtype(dtype))[0].item()
        if value.name.endswith("multiarray._reconstruct"):
            _, shape, dtype, fortran, content = value.state
            return np.frombuffer(content, _dtype(dtype)).reshape(shape, order="F" if fortran else "C").copy()
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    return None


def _dtype(value: StandIn) -> np.dtype:
    """Return the type of numbers that the stand-in of `numpy.dtype` names."""
    kind, order = str(value.args[0]), str(value.state[1]) if value.state else "="
    if not NUMBER.fullmatch(kind):
        raise ValueError(f"{kind} is no type of plain numbers")
    return np.dtype(("" if order == "|" else order) + kind)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str | StandIn) else type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."
