"""The tape of one forward pass: its operations on tensors that depend on the image or on a parameter, in order.

Values are of no interest, so that convolutions and products of matrices are not computed: their results are zeros of the right
shape. All other operations run, because an index or a branch of the network may need the values of its constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from Models.nested import tensors_in
from Models.operations import MAKING
from Models.result_shapes import RESULT_SHAPES
from Models.shapes import eval_mode

# Methods of a tensor that hand its numbers to Python or numpy.
LEAVING = frozenset({
    "item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "__index__", "__complex__", "__dlpack__",
    "data_ptr", "untyped_storage",
})  # fmt: skip


class Source(IntEnum):
    """The source of a tensor: nothing that matters, parameters alone, or the image too."""

    CONSTANT, PARAMETER, IMAGE = range(3)


@dataclass(eq=False)
class Node:
    """One tensor of the pass.

    Attributes:
        shape, stride, device: those of the tensor.
        view: for a view its parent, the operation, its arguments after the parent, and the place among the results.
        source: for a tensor that owns its memory, what it depends on at the end of the pass; a view has that of its `root`.
        value: the tensor itself, of a constant that an operation on the tape reads.
        gate: whether the numbers are those of a sigmoid or softmax, which are above zero everywhere.
    """

    shape: torch.Size
    stride: tuple[int, ...]
    device: torch.device
    view: tuple[Node, Any, tuple[Any, ...], dict[str, Any], int] | None = None
    source: Source = Source.CONSTANT
    value: torch.Tensor | None = None
    gate: bool = False

    @property
    def root(self) -> Node:
        """The node that owns the memory."""
        node = self
        while node.view is not None:
            node = node.view[0]
        return node


@dataclass(frozen=True)
class Step:
    """One operation: its arguments and results, with nodes in the place of tensors."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Node]

    @property
    def name(self) -> str:
        """The operation's name, the same for its version that writes in place."""
        return self.func.overloadpacket.__name__.rstrip("_")


@dataclass
class Tape:
    """The record of a forward pass.

    Attributes:
        image: the node of the image.
        parameters: the node of every parameter, by full name.
        steps: the operations.
        leaving: nodes whose numbers became numbers of Python or numpy, or decided on a shape, where nothing can follow them.
        output: the network's first output; None where it puts out no tensor.
    """

    image: Node
    parameters: dict[str, Node]
    steps: list[Step] = field(default_factory=list)
    leaving: list[Node] = field(default_factory=list)
    output: Node | None = None

    def used(self) -> frozenset[str]:
        """Return the full names of the parameters that the output, or a number that left the pass, was computed from."""
        needed = {node.root for node in (*self.leaving, *([self.output] if self.output else []))}
        for step in reversed(self.steps):
            if any(node.root in needed for node in step.results):
                needed.update(node.root for node in nodes_in((step.args, step.kwargs)))
        return frozenset(name for name, node in self.parameters.items() if node in needed)


def record(model: nn.Module, input_shape: tuple[int, ...]) -> Tape:
    """Run `model` in eval mode on an image of ones and return the tape; the network does not change.

    Raises:
        Exception: whatever the forward pass raises.
    """
    tensors = {name: t.detach() for name, t in model.named_parameters()}
    image = torch.ones(1, *input_shape, device=next(iter(tensors.values())).device)
    recorder = _Recorder(image, dict(model.named_parameters()), tensors)
    buffers = {name: t.clone() for name, t in model.named_buffers() if not name.endswith("_mask")}
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one operation that would hide the weights within
        with eval_mode(model), torch.no_grad(), torch.random.fork_rng(devices=[]), recorder, _Leaving(recorder):
            output = torch.func.functional_call(model, tensors | buffers, (image,))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for now, before in attributes:
            now.clear()
            now.update(before)
    first = next(tensors_in(output), None)
    recorder.tape.output = None if first is None else recorder.node(first)
    return recorder.tape


def nodes_in(values: Any) -> list[Node]:
    """List the nodes in nested lists, tuples and dictionaries."""
    if isinstance(values, Node):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [node for value in values for node in nodes_in(value)] if isinstance(values, list | tuple) else []


class _Leaving(TorchFunctionMode):
    """A mode that notes whether numbers become numbers of Python or numpy."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in LEAVING and isinstance(args[0], torch.Tensor):
            node = self._recorder.node(args[0])
            if node.root.source is Source.IMAGE:
                self._recorder.tape.leaving.append(node)
        return func(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    """A mode that writes the tape."""

    def __init__(self, image: torch.Tensor, *parameters: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._nodes = WeakTensorKeyDictionary()
        self.tape = Tape(self._new(image, Source.IMAGE), {})
        for name, tensor in parameters[-1].items():
            node = self.tape.parameters[name] = self._new(tensor, Source.PARAMETER)
            self._nodes[parameters[0][name]] = node  # a module may hold on to the parameter itself, as recurrent layers do

    def _new(self, tensor: torch.Tensor, source: Source = Source.CONSTANT, **more: Any) -> Node:
        strides = tensor.stride() if tensor.layout is torch.strided else ()
        node = self._nodes[tensor] = Node(tensor.shape, strides, tensor.device, source=source, **more)
        return node

    def node(self, tensor: torch.Tensor) -> Node:
        """Return the node of a tensor, which is a constant if no operation made it."""
        found = self._nodes.get(tensor)
        return self._new(tensor) if found is None else found

    def _swapped(self, value: Any) -> Any:
        """Replace tensors by nodes, and let the nodes of constants keep their values."""
        if isinstance(value, torch.Tensor):
            node = self.node(value)
            if node.root.source is Source.CONSTANT:
                node.value = value
            return node
        if isinstance(value, list | tuple):
            return type(value)(self._swapped(v) for v in value)
        return value

    def _deciding(self, name: str, args: tuple[Any, ...]) -> list[Node]:
        """List the arguments whose numbers, of the image, decide how many numbers an operation returns."""
        masks = (torch.bool, torch.uint8)
        tensors = tensors_in(args) if name != "index" else (t for t in tensors_in(args[1]) if t.dtype in masks)
        return [node for node in map(self.node, tensors) if node.root.source is Source.IMAGE]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.is_view and isinstance(args[0], torch.Tensor):
            results = func(*args, **kwargs)
            parent = self.node(args[0])
            for place, result in enumerate(tensors_in(results)):
                self._new(result, view=(parent, func, args[1:], kwargs, place))
            return results
        roots = [self.node(t).root for t in tensors_in((args, kwargs))]
        source = max((root.source for root in roots), default=Source.CONSTANT)
        if source is Source.CONSTANT or func.overloadpacket.__name__ in MAKING:
            return func(*args, **kwargs)
        given, named = self._swapped(args), {name: self._swapped(value) for name, value in kwargs.items()}
        if torch.Tag.dynamic_output_shape in func.tags:
            self.tape.leaving.extend(self._deciding(func.overloadpacket.__name__, args))
        shape = RESULT_SHAPES.get(func.overloadpacket.__name__)
        if source is Source.IMAGE and shape is not None:
            results: Any = args[0].new_zeros(shape(*args))
        else:
            results = func(*args, **kwargs)
        found = []
        for result in tensors_in(results):
            node = self._nodes.get(result)
            if node is None or torch.Tag.inplace_view in func.tags:
                node = self._new(result, source)
            node.root.source = max(node.root.source, source)
            found.append(node)
        self.tape.steps.append(Step(func, given, named, found))
        return results
