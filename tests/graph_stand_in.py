"""A stand-in for a CUDA graph on the CPU: it notes torch's operations, runs none of them, and repeats them on the same memory.

As on a card, what Python does in between is lost: a number that was read, a branch that was taken, a tensor that was replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

LEAVING = ("_local_scalar_dense", "item", "is_nonzero")  # operations that a capture forbids


class Recorded(TorchDispatchMode):
    """The stand-in for `Utils.compute.graphs.Capture`; counts its instances and its replays."""

    made: ClassVar[list[Recorded]] = []

    def __init__(self, work: Callable[[], None], stream: Any, pool: Any) -> None:
        super().__init__()
        self.pool, self.replays = pool or object(), 0
        self._steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # tensors that the work writes to, and their values
        random = torch.get_rng_state()
        try:
            with self:
                work()
        finally:  # a capture runs nothing
            for tensor, values in self._before.values():
                tensor.detach().copy_(values)
            torch.set_rng_state(random)
        Recorded.made.append(self)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in LEAVING:
            raise RuntimeError("operation not permitted when stream is capturing")
        hidden = func.overloadpacket.__name__ == "native_batch_norm"  # writes its statistics, which its schema does not say
        for given, declared in zip(args, func._schema.arguments, strict=False):
            if hidden or (declared.alias_info is not None and declared.alias_info.is_write):
                for tensor in tree_leaves(given):
                    if isinstance(tensor, torch.Tensor):
                        self._before.setdefault(id(tensor), (tensor, tensor.detach().clone()))
        result = func(*args, **kwargs)
        self._steps.append((func, args, kwargs, [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Repeat the operations; each result goes where it went the first time."""
        self.replays += 1
        for func, args, kwargs, results in self._steps:
            again = [t for t in tree_leaves(func(*tree_map_only(torch.Tensor, torch.Tensor.detach, args), **kwargs))
                     if isinstance(t, torch.Tensor)]  # fmt: skip
            for old, new in zip(results, again, strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.detach().copy_(new)
