"""A card that is not there: tensors that say they are on `cuda:0` and compute on the CPU, under CUDA's rules.

What torch would refuse on a machine with a card is refused here as well: statistics that are reset before CUDA is initialised,
tensors of two devices in one operation, an index on the card into a tensor on the CPU, numpy, and with `--deterministic` each
operation that has no deterministic form on CUDA in some version of torch that the requirements admit.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from Utils.base.turns import Turn

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
# Of `torch.use_deterministic_algorithms` in torch 2.9 and later: what raises on CUDA. Sums along a dimension: of floats alone.
ALWAYS_RAISE = {
    "kthvalue", "median", "nanmedian", "histc", "put_", "index_reduce", "scatter_reduce", "max_unpool2d", "grid_sampler_2d_backward",
    "adaptive_max_pool2d_backward", "_adaptive_avg_pool2d_backward", "avg_pool3d_backward", "max_pool3d_with_indices_backward",
    "fractional_max_pool2d_backward", "reflection_pad2d_backward", "reflection_pad1d_backward", "replication_pad2d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "upsample_linear1d_backward", "_embedding_bag", "nll_loss2d_forward",
    "_ctc_loss_backward", "resize_", "_bincount_weights",
}  # fmt: skip
FLOATS_RAISE = {"cumsum", "cumsum_", "cumprod", "logcumsumexp"}


class OnCard(torch.Tensor):
    """A tensor whose numbers lie in `held`, on the CPU; Python code sees it on the card, torch's own does not."""

    device = property(lambda self: CARD)
    is_cuda = property(lambda self: True)

    @staticmethod
    def __new__(cls, held, requires_grad=False):
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CPU,
            requires_grad=requires_grad,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, **_):
        return f"OnCard({self.held})"

    def tolist(self):
        Card.reads["host reads"] += 1
        return self.held.tolist()

    def numpy(self, **_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")

    def __array__(self, *_):
        self.numpy()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.cpu:
            return moved(args[0], CPU)
        if func is torch.Tensor.cuda:
            return moved(args[0], CARD)
        if func is torch.Tensor.data.__set__:
            args[0].held = args[1].held
        if func is torch.Tensor.to:
            return moved(args[0], *args[1:], **kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def moved(tensor, *where, device=None, dtype=None, copy=False, non_blocking=False, memory_format=torch.preserve_format):
    """`tensor.to(...)`, in all its forms."""
    for word in where:
        if isinstance(word, torch.Tensor):
            device, dtype = word.device, word.dtype
        elif isinstance(word, torch.dtype):
            dtype = word
        elif word is not None and not isinstance(word, bool):
            device = torch.device(word)
    device, dtype = torch.device(device or tensor.device), dtype or tensor.dtype
    same = device.type == tensor.device.type and dtype == tensor.dtype and not copy
    if same and (memory_format == torch.preserve_format or tensor.is_contiguous(memory_format=memory_format)):
        return tensor
    return torch.ops.aten._to_copy.default(tensor, dtype=dtype, device=device, memory_format=memory_format)


def compute(func, args, kwargs):
    """Compute on the CPU; the result is on the card where an argument was, or where `device=` says so."""
    name, tensors = func.overloadpacket.__name__, [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    there = [t for t in tensors if isinstance(t, OnCard)]
    device = kwargs.get("device")
    wanted = torch.device(device).type == "cuda" if device is not None else bool(there)
    if there and not (name in ("copy_", "_to_copy", "set_") or all(isinstance(t, OnCard) or t.dim() == 0 for t in tensors)):
        refuse_mixture(name, args)
    if there and torch.are_deterministic_algorithms_enabled():
        floats = bool(args) and isinstance(args[0], torch.Tensor) and args[0].is_floating_point()
        if name in ALWAYS_RAISE or (name in FLOATS_RAISE and floats):
            raise RuntimeError(f"{name} does not have a deterministic implementation, but you set use_deterministic_algorithms")
    if name == "_local_scalar_dense" and there:
        Card.reads["host reads"] += 1
    inner = tree_map_only(OnCard, lambda t: t.held, (args, kwargs))
    if device is not None:
        inner[1]["device"] = CPU
    if name == "_to_copy" and wanted != bool(there):  # a transfer is a copy
        results = inner[0][0].to(**{k: v for k, v in inner[1].items() if k in ("dtype",)}, copy=True)
    else:
        results = func(*inner[0], **inner[1])
    if not wanted:
        return results
    wrapped = tree_map_only(torch.Tensor, OnCard, results)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if there else wrapped


def refuse_mixture(name, args):
    if name in ("index", "index_put_", "index_put", "_index_put_impl_") and isinstance(args[0], OnCard):
        return  # torch takes an index on the CPU along
    raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({name})")


class Card(TorchDispatchMode):
    """Sees what is made on the card out of nothing, or copied there."""

    reads: ClassVar[Counter] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is not None or any(isinstance(t, OnCard) for t in tree_leaves((args, kwargs))):
            return compute(func, args, kwargs)
        return func(*args, **kwargs)


def on_card(work):
    """`work` in a thread of its own, which sees the card too."""

    def run(*args):
        with Card():
            return work(*args)

    return run


@contextmanager
def card(count=1):
    """As if `count` cards were there, none of them used yet; `touched` of what this gives are the cards that were.

    Numbers are the CPU's: what `OnCard` cannot show is a kernel that rounds otherwise, a stream, or a want of memory.
    """
    state = SimpleNamespace(initialised=False, current=0, touched=set())

    def initialise(device=None):
        state.initialised = True
        index = state.current if device is None else torch.device(device).index if not isinstance(device, int) else device
        state.touched.add(index)
        return index

    def set_device(device):
        state.current = initialise(device)

    def reset(device=None):
        if not state.initialised:
            raise RuntimeError("Invalid device argument 0: did you call init?")

    properties = SimpleNamespace(name="Pretended", total_memory=2**30, major=9, minor=0, multi_processor_count=1)
    functions = {
        "is_available": lambda: True, "device_count": lambda: count, "init": lambda: initialise(state.current), "set_device": set_device, "_lazy_init": lambda: None,
        "synchronize": lambda device=None: initialise(device), "current_device": lambda: initialise(), "is_initialized": lambda: False,
        "reset_peak_memory_stats": reset, "max_memory_allocated": lambda device=None: 0, "memory_allocated": lambda device=None: 0,
        "get_device_properties": lambda device=None: properties, "get_device_name": lambda device=None: "Pretended",
        "is_bf16_supported": lambda **_: True, "is_current_stream_capturing": lambda: False, "empty_cache": lambda: None,
        "get_rng_state": lambda device=None: torch.empty(0), "set_rng_state": lambda *_: None,
        "memory_reserved": lambda device=None: 0, "mem_get_info": lambda device=None: (2**30, 2**30), "get_device_capability": lambda device=None: (9, 0),
    }  # fmt: skip
    Card.reads.clear()
    with ExitStack() as stack:
        for name, function in functions.items():
            stack.enter_context(patch.object(torch.cuda, name, function))
        for check in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            if hasattr(torch.optim.Optimizer, check):
                stack.enter_context(patch.object(torch.optim.Optimizer, check, lambda self: None))
        stack.enter_context(patch("Utils.measure.record_trace.profile", lambda activities, **rest: profile(activities=[ProfilerActivity.CPU], **rest)))
        stack.enter_context(patch("Utils.compute.graphs.can_capture", lambda device: False))
        stack.enter_context(patch.object(torch.Tensor, "pin_memory", lambda self, *_: self))
        stack.enter_context(patch("Utils.compute.device._unusable", {}))
        stack.enter_context(patch("Utils.compute.device._said", set()))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        stack.enter_context(patch.object(Turn, "_run", on_card(Turn._run)))
        stack.enter_context(Card())
        yield state
