"""Pruning methods, one file each; `_shared/` holds the parts that they share: schedules, budgets, masks, rounds.

A file `Pruners/NAME.py` with a subclass of `Pruner` is all that a new method needs. The command line finds it by its file name;
dashes in the flag are underscores there.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Pruners._shared.base import Pruner

DENSE = "dense"  # the method that keeps every weight


def names() -> tuple[str, ...]:
    """List the names that `--pruner` takes, from the names of the files; none is imported, so that this needs no torch.

    `base`, and names that begin with an underscore, are no methods.
    """
    # No `set` here: the method of that name becomes an attribute of this module when it is imported.
    found = [m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and not m.name.startswith("_")]
    return tuple(sorted(name.replace("_", "-") for name in found))


def spelt(word: str) -> str:
    """Return the method that `word` spells in other letters, such as `SynFlow`; `word` itself if there is none."""
    known = names()
    return next((name for name in known if word not in known and name == word.lower().replace("_", "-")), word)


def load(name: str) -> type[Pruner]:
    """Import the class of the method `name`.

    Raises:
        ValueError: its file defines no subclass of `Pruner`, or several.
    """
    from Pruners._shared.base import Pruner

    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    own = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Pruner) and c.__module__ == module.__name__]
    if len(own) != 1:
        raise ValueError(f"{module.__file__}: one subclass of Pruner expected, found {len(own)}")
    return own[0]
