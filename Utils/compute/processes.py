"""One network on several processes, called ranks: what they tell each other. In a single process each function does nothing.

`torchrun --nproc-per-node=K main.py ...` starts them, on one machine or several (`torchrun.py` is how they begin and
end). Each takes its share of every batch and of the test set. Rank 0 decides, prints, and alone looks at the run folder, so
that machines need not share a disk; the others follow. Numbers and decisions travel over gloo, gradients on CUDA over nccl.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from Utils.base.errors import status_of

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")


def share() -> tuple[int, int]:
    """(rank, ranks) of this process; (0, 1) where it is alone."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this is rank 0, which writes and prints."""
    return share()[0] == 0


def device_index(asked: int) -> int:
    """The number of the CUDA device of this process: `asked`, among several processes its number on the machine."""
    return asked if share()[1] == 1 else int(os.environ.get("LOCAL_RANK", share()[0]))


def decided(decide: Callable[[], T]) -> T:
    """What `decide()` returns on rank 0, on every rank; where it raises there, the others leave with the same exit status.

    Every rank has to call this at the same point.
    """
    import torch
    import torch.distributed as dist

    rank, ranks = share()
    if ranks == 1:
        return decide()
    outcome: list[Any] = [None, 0]
    try:
        if rank == 0:
            outcome[0] = decide()
    except BaseException as error:
        outcome = [None, status_of(error)]
        raise
    finally:
        dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
    if outcome[1]:
        sys.exit(outcome[1])
    return outcome[0]


def add_up(values: Sequence[float]) -> list[float]:
    """The sums of `values` over all ranks, in float64 and in the order of the ranks, so that all have the same bits."""
    import torch
    import torch.distributed as dist

    ranks = share()[1]
    if ranks == 1:
        return list(values)
    own = torch.tensor(values, dtype=torch.float64)
    parts = [torch.empty_like(own) for _ in range(ranks)]
    dist.all_gather(parts, own)
    return torch.stack(parts).sum(0).tolist()


def parallel(model: nn.Module) -> nn.Module:
    """`model`; among several processes, a wrapper whose backward pass averages the gradients over them.

    Weights, masks and statistics are rank 0's on all ranks afterwards. Buffers are not sent along with every batch, as masks
    would be the greater part of the traffic: see `follow_statistics`.
    """
    import torch

    if share()[1] == 1:
        return model
    _follow(itertools.chain(model.parameters(), model.buffers()))
    _check_masks(model)
    wrapper = torch.nn.parallel.DistributedDataParallel
    newer = "forward_sync_buffers" in inspect.signature(wrapper).parameters
    device = next(model.parameters()).device
    return wrapper(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        init_sync=False,
        # A network of one's own may have parameters that a forward pass does not use, now and then or ever; DDP stops there
        # without this. It costs a walk over the graph in each step.
        find_unused_parameters=True,
        **{"forward_sync_buffers" if newer else "broadcast_buffers": False},
    )


def follow_statistics(model: nn.Module) -> None:
    """Give every rank the buffers of rank 0 that training changes, such as BatchNorm's statistics; masks are left out."""
    if share()[1] > 1:
        _follow(buffer for name, buffer in model.named_buffers() if not name.endswith("_mask"))


def _follow(tensors: Iterable[torch.Tensor]) -> None:
    """Copy rank 0's values into `tensors`, byte by byte: gloo does not know every type."""
    import torch
    import torch.distributed as dist

    for own in (t.detach() for t in tensors if t.numel()):
        content = own.contiguous().reshape(-1)
        dist.broadcast(content.view(torch.uint8), 0)
        own.copy_(content.view_as(own))


def _check_masks(model: nn.Module) -> None:
    import torch.distributed as dist

    digest = hashlib.blake2b()
    for name, buffer in model.named_buffers():
        if name.endswith("_mask"):
            digest.update(buffer.bool().cpu().contiguous().numpy())
    found: list[Any] = [None] * share()[1]
    dist.all_gather_object(found, digest.digest())
    if len(set(found)) > 1:
        raise AssertionError("the masks of the processes differ")
