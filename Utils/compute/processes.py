"""Communication between the processes that train one network together, called ranks.

`torchrun --nproc-per-node=K main.py ...` starts them, on one machine or several; `torchrun.py` begins and ends them. Each rank
takes its share of every batch and of the test set. Rank 0 alone decides, prints and uses the run folder, so that machines need
not share a disk; the others follow. Numbers and decisions travel over gloo, gradients on CUDA over nccl. In a single process each
function here does nothing.
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
    """Return (rank, ranks) of this process; (0, 1) where it is alone."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Tell whether this is rank 0, which writes and prints."""
    return share()[0] == 0


def device_index(asked: int) -> int:
    """Return the number of this process' CUDA device: `asked`, or among several processes its number on the machine."""
    return asked if share()[1] == 1 else int(os.environ.get("LOCAL_RANK", share()[0]))


def decided(decide: Callable[[], T]) -> T:
    """Return on every rank the result that `decide()` gives on rank 0.

    If `decide()` raises on rank 0, the other ranks exit with the same status. Every rank has to call this at the same point.
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
    """Return the sums of `values` over all ranks.

    They are added in float64 and in the order of the ranks, so that all ranks have the same bits.
    """
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
    """Return `model`; among several processes, a wrapper whose backward pass averages the gradients over them.

    All ranks get rank 0's weights, masks and statistics. The buffers are not sent along with every batch, as masks would be the
    greater part of the traffic; `follow_statistics` sends the others.
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
        # A user's own network may have parameters that some or all forward passes do not use. Without this, DDP stops there.
        # It costs a walk over the graph in each step.
        find_unused_parameters=True,
        **{"forward_sync_buffers" if newer else "broadcast_buffers": False},
    )


def follow_statistics(model: nn.Module) -> None:
    """Give every rank the buffers of rank 0 that training changes, such as BatchNorm's statistics; masks are left out."""
    if share()[1] > 1:
        _follow(buffer for name, buffer in model.named_buffers() if not name.endswith("_mask"))


def _follow(tensors: Iterable[torch.Tensor]) -> None:
    """Copy rank 0's values into `tensors`, byte by byte, as gloo does not know every type."""
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
