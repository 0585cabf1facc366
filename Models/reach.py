"""Reach: the numbers that depend on the image, followed through the operations of one forward pass.

Every tensor of the pass has a companion of its shape: one where the image can change the number, zero where it cannot. A rule for
each operation computes the companion of its result, so that neither rounding nor a vanishing derivative decides: a convolution
connects by its mask, a result of a pointwise function is reached if any of its arguments is, and a view is the same view. The
results of an operation without a rule all count as reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from Models.masking import Prunable
from Models.operations import PLACING, POINTWISE, REDUCING, SPREADING
from Models.shapes import eval_mode
from Utils.base.errors import out_of_memory

# Methods of a tensor that hand its numbers to Python or numpy.
LEAVING = frozenset({
    "item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "__index__", "__complex__", "__dlpack__",
    "data_ptr", "untyped_storage",
})  # fmt: skip
CONNECTED = 0.5  # sums of zeros and ones, less what a kernel that transforms them (Winograd's) may round off


def has_path(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> bool:
    """Tell whether a path of kept weights leads from the image, of shape `input_shape`, to the output of `model`.

    Without a path the network is constant. The network does not change. A network of which nothing is pruned, and one whose
    forward pass fails, count as having a path.
    """
    if all(bool(p.mask.all()) for p in prunables):
        return True
    tensors = {name: t.detach() for name, t in model.named_parameters()}
    image = torch.ones(1, *input_shape, device=next(iter(tensors.values())).device)
    following = _Following(image, [(tensors[p.name], p.mask) for p in prunables])
    leaving = _Leaving(following)
    buffers = {name: t.clone() for name, t in model.named_buffers()}
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one operation that would hide the weights within
        with eval_mode(model), torch.no_grad(), torch.random.fork_rng(devices=[]), following, leaving:
            output = torch.func.functional_call(model, tensors | buffers, (image,))
        return leaving.left or following.reaches(next(t for t in tree_leaves(output) if isinstance(t, torch.Tensor)))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, StopIteration) as error:
        if out_of_memory(error):
            raise
        return True
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Leaving(TorchFunctionMode):
    """A mode that notes whether reached numbers become numbers of Python or numpy, where no rule can follow them."""

    def __init__(self, following: _Following) -> None:
        super().__init__()
        self._following, self.left = following, False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in LEAVING and isinstance(args[0], torch.Tensor):
            self.left = self.left or self._following.reaches(args[0])
        return func(*args, **(kwargs or {}))


class _Following(TorchDispatchMode):
    """A mode in which every operation also notes the numbers of its results that `image` reaches.

    `masked` are pairs of a weight and its mask; both are known through views. Every note is a float32 tensor of zeros and ones
    with the strides of its tensor, so that views and writes in place act on both alike.
    """

    def __init__(self, image: torch.Tensor, masked: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self._reach, self._kept = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()
        self._reach[image] = torch.ones_like(image)
        for weight, mask in masked:
            self._kept[weight] = (mask != 0).float()

    def reaches(self, tensor: torch.Tensor) -> bool:
        """Tell whether any number of `tensor` depends on the image."""
        return bool(self._of(tensor).any())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.is_view and isinstance(args[0], torch.Tensor):
            return self._view(func, args, kwargs)
        if torch.Tag.inplace_view in func.tags:
            func(self._of(args[0]), *args[1:], **kwargs)
            return func(*args, **kwargs)
        sources = [self._of(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        results = func(*args, **kwargs)
        arrives = any(bool(source.any()) for source in sources)
        found = self._carry(func, args, kwargs, results) if arrives else None
        for place, result in enumerate(t for t in tree_leaves(results) if isinstance(t, torch.Tensor)):
            note = torch.full_like(result, float(arrives), dtype=torch.float32) if found is None or place else found
            own = self._reach.get(result)
            if own is None:
                own = self._reach[result] = torch.zeros_like(result, dtype=torch.float32)
            own.copy_(note)
        return results

    def _of(self, tensor: torch.Tensor) -> torch.Tensor:
        found = self._reach.get(tensor)
        if found is None:
            found = self._reach[tensor] = torch.zeros_like(tensor, dtype=torch.float32)
        return found

    def _mask(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the entries of a factor that let through: the mask of a weight, ones for any other tensor."""
        found = self._kept.get(tensor)
        return torch.ones_like(tensor, dtype=torch.float32) if found is None else found

    def _view(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        results = func(*args, **kwargs)
        for notes, beside in ((self._reach, self._of(args[0])), (self._kept, self._kept.get(args[0]))):
            if beside is None:
                continue
            views = func(beside, *args[1:], **kwargs)
            for result, view in zip(tree_leaves(results), tree_leaves(views), strict=True):
                notes[result] = view
        return results

    def _carry(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: Any) -> torch.Tensor | None:
        """Return the reached numbers of the first result, in a shape that broadcasts to it; None: all."""
        name = func.overloadpacket.__name__.rstrip("_")
        rule: Callable[..., torch.Tensor | None] | None = RULES.get(name)
        if rule is not None:
            return rule(self, *args, **kwargs)
        if torch.Tag.pointwise in func.tags or name in POINTWISE:
            return self._any_of(args, kwargs)
        if name in PLACING:
            return self._placed(func, args, kwargs)
        if name in REDUCING:
            return self._reduced(func, args, kwargs)
        return self._along(args[0], args[1]) if name in SPREADING else None

    def _any_of(self, args: Any, kwargs: Any) -> torch.Tensor:
        """Rule for pointwise functions: reached where any argument is."""
        total: Any = 0.0
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                total = total + self._of(tensor)
        return (total > 0).float()

    def _placed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if any(bool(self._of(t).any()) for t in tensors if not t.is_floating_point()):
            return None  # the image decides on the places themselves
        if func.overloadpacket.__name__ == "constant_pad_nd":
            args, kwargs = args[:2], {}
        swapped = torch.utils._pytree.tree_map_only(
            torch.Tensor, lambda t: self._of(t) if t.is_floating_point() else t, (args, kwargs)
        )
        swapped[1].pop("dtype", None)
        result = tree_leaves(func(*swapped[0], **swapped[1]))[0]
        return (result != 0).float()

    def _reduced(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | kwargs
        dims = given.get("dim")
        if dims is None or dims == []:
            return None
        return self._of(args[0]).amax(dims, keepdim=bool(given.get("keepdim", False)))

    def _along(self, tensor: torch.Tensor, dims: int | Sequence[int]) -> torch.Tensor:
        reach = self._of(tensor)
        return reach.amax(dims, keepdim=True).expand_as(reach)

    def _times(self, a: Any, b: Any) -> torch.Tensor:
        """Rule for a product entry by entry: one factor passes where the other is kept."""
        pairs = [(a, b), (b, a)]
        parts = [
            self._of(x) * (self._mask(y) if isinstance(y, torch.Tensor) else 1.0) for x, y in pairs if isinstance(x, torch.Tensor)
        ]
        return (sum(parts) > 0).float()

    def _matrix(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Rule for a product of matrices, or of batches of them."""
        total = self._of(a) @ self._mask(b)
        if self._of(b).any():
            total = total + self._mask(a) @ self._of(b)
        return (total > CONNECTED).float()

    def _added_matrix(self, c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.maximum(self._of(c), self._matrix(a, b))

    def _convolution(self, x: torch.Tensor, weight: torch.Tensor, _bias: Any, *rest: Any) -> torch.Tensor | None:
        if self._of(weight).any():
            return None
        return (torch.ops.aten.convolution(self._of(x), self._mask(weight), None, *rest) > CONNECTED).float()

    def _batch_norm(self, x: torch.Tensor, weight: torch.Tensor | None, _bias: Any, *rest: Any) -> torch.Tensor:
        reach = self._of(x)
        if any(flag is True for flag in rest):  # by the statistics of this image
            reach = reach.amax([d for d in range(reach.dim()) if d != 1], keepdim=True).expand_as(reach)
        return reach if weight is None else reach * self._mask(weight).view(-1, *[1] * (reach.dim() - 2))

    def _layer_norm(self, x: torch.Tensor, shape: Sequence[int], weight: torch.Tensor | None = None, *_: Any) -> torch.Tensor:
        reach = self._along(x, [*range(-len(shape), 0)])
        return reach if weight is None else reach * self._mask(weight)

    def _group_norm(
        self, x: torch.Tensor, weight: torch.Tensor | None, _bias: Any, count: int, _c: int, _size: int, groups: int, *_: Any
    ) -> torch.Tensor:
        grouped = self._of(x).reshape(count, groups, -1)
        reach = grouped.amax(2, keepdim=True).expand_as(grouped).reshape(x.shape)
        return reach if weight is None else reach * self._mask(weight).view(-1, *[1] * (x.dim() - 2))

    def _copied(self, _own: torch.Tensor, source: torch.Tensor, *_: Any) -> torch.Tensor:
        return self._of(source)


RULES: dict[str, Callable[..., torch.Tensor | None]] = {
    "mul": _Following._times, "mm": _Following._matrix, "bmm": _Following._matrix, "mv": _Following._matrix,
    "addmm": _Following._added_matrix, "baddbmm": _Following._added_matrix, "convolution": _Following._convolution,
    "native_batch_norm": _Following._batch_norm, "cudnn_batch_norm": _Following._batch_norm,
    "miopen_batch_norm": _Following._batch_norm, "_native_batch_norm_legit": _Following._batch_norm,
    "_native_batch_norm_legit_no_training": _Following._batch_norm, "_batch_norm_with_update": _Following._batch_norm,
    "native_layer_norm": _Following._layer_norm, "native_group_norm": _Following._group_norm, "copy": _Following._copied,
}  # fmt: skip
