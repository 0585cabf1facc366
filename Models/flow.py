"""Flow: the numbers that depend on the image, followed through the operations of a tape, and with gradients back from the output.

Every tensor of the pass has a companion of its shape. For a tensor that depends on the image the companion is one where the image
can change the number, zero where it cannot. For a tensor made of parameters alone it is one where the number may be other than
zero, so that a mask is a companion of its weight. A rule for each operation (`Models/flow_rules.py`) computes the companion of
its result from sums and products of companions, so that neither rounding nor a vanishing derivative decides. By the gradients of
these sums autograd finds, from the output back, the numbers that the output depends on. The results of an operation without a
rule, or whose rule fails, all depend on all arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from Models.companions import Companions, everything
from Models.flow_kinds import by_kind
from Models.flow_rules import RULES
from Models.operations import GATES, SAME, ZERO_KEEPING
from Models.tape import Node, Step, Tape, nodes_in
from Utils.base.errors import out_of_memory

FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, NotImplementedError)
PASSED_ON = frozenset({"clone", "_to_copy", "native_dropout", "_unsafe_view"})


def follow(tape: Tape, connections: Mapping[str, torch.Tensor]) -> Flow:
    """Follow a tape, where `connections` are the companions of the parameters, by full name.

    A gate counts by what the image does to the tensor that it multiplies. Where this leaves no path at all, the gate itself is
    one, because it may multiply a constant.
    """
    flow = Flow(tape, connections)
    if flow.gated and (output := flow.output()) is not None and not output.is_meta and not bool((output > 0).any()):
        flow = Flow(tape, connections, strict=False)
    return flow


class Flow(Companions):
    """The companions of a tape's tensors.

    Attributes:
        ends: for each product with the weight of a layer the parameter's name and a zero that was added to each of its units.
    """

    def __init__(self, tape: Tape, connections: Mapping[str, torch.Tensor], strict: bool = True, constants: bool = False) -> None:
        """Follow `tape`; `connections` are the companions of the parameters, by full name."""
        self.tape, self.strict, self.gated = tape, strict, False
        self.constants, self.joined = constants, False
        self.ends: list[tuple[str, torch.Tensor]] = []
        self.names = {node: name for name, node in tape.parameters.items()}
        self._found: dict[Node, torch.Tensor | partial[torch.Tensor]] = {
            node: connections[name] for name, node in tape.parameters.items()
        }
        self._found[tape.image] = torch.ones(tape.image.shape, device=tape.image.device)
        self._imaged = {tape.image}
        self._views: dict[Node, tuple[Any, torch.Tensor]] = {}
        for step in tape.steps:
            self._follow(step)

    def left(self) -> torch.Tensor | None:
        """Tell whether the image reaches a number that left the pass: a number above zero; None if none left."""
        parts = [self.of(node) for node in self.tape.leaving]
        return sum(part.detach().sum() for part in parts if part is not None) if any(p is not None for p in parts) else None

    def output(self) -> torch.Tensor | None:
        """Return the companion of the network's output; None if it cannot depend on the image."""
        node = self.tape.output
        return None if node is None or not self.is_signal(node) else self.of(node)

    def is_signal(self, node: Node) -> bool:
        """Tell whether a tensor depends on the image by now."""
        return node.root in self._imaged

    def of(self, node: Node) -> torch.Tensor | None:
        """Return the companion of a tensor; None for a constant."""
        if node.view is None:
            found = self._found.get(node)
            if isinstance(found, partial):
                found = self._found[node] = found()
            return found
        base = self.of(node.view[0])
        if base is None:
            return None
        kept = self._views.get(node)
        if kept is None or kept[0] is not base:
            kept = self._views[node] = (base, self._view(node, base))
        return kept[1]

    def _view(self, node: Node, base: torch.Tensor) -> torch.Tensor:
        """Take the same view of a companion that `node` is of its parent."""
        assert node.view is not None
        _, func, args, kwargs, place = node.view
        name = func.overloadpacket.__name__
        if name in SAME:
            return base
        if name in ("view", "_unsafe_view", "_reshape_alias"):
            return base.reshape(node.shape)
        if name in ("split", "split_with_sizes", "unbind", "chunk"):
            return self._part(node, name, args, kwargs, place, base)
        try:
            found = func(base, *args, **kwargs)
            found = found if isinstance(found, torch.Tensor) else found[place]
            if found.shape == node.shape:
                return found if not found.is_complex() else found.real
        except FAILURES as error:
            if out_of_memory(error):
                raise
        return everything([base], node)

    def _part(self, node: Node, name: str, args: Any, kwargs: Mapping[str, Any], place: int, base: torch.Tensor) -> torch.Tensor:
        """Take one of several views; autograd lets such a view alone be written in place."""
        given = [*args, *kwargs.values()]
        if name == "unbind":
            return base.select(given[0] if given else 0, place)
        dim = given[1] if len(given) > 1 else 0
        sizes = given[0]
        start = sum(sizes[:place]) if isinstance(sizes, list | tuple) else sizes * place
        return base.narrow(dim, start, node.shape[dim])

    def _write(self, node: Node, companion: torch.Tensor, imaged: bool) -> None:
        """Make `companion`, which broadcasts, that of a tensor; through a view, of a part of the tensor that owns the memory."""
        companion = companion.expand(node.shape)
        before = self.is_signal(node)
        if imaged:
            self._imaged.add(node.root)
        if node.view is None:
            self._found[node] = companion
            return
        root = node.root
        base = self.of(root)
        whole = torch.zeros(root.shape, device=root.device) if base is None or before != imaged else base.clone()
        chain: list[Node] = []
        step = node
        while step.view is not None:
            chain.append(step)
            step = step.view[0]
        part = whole
        for link in reversed(chain):
            part = self._view(link, part)
        part.copy_(companion)
        self._found[root] = whole

    def _follow(self, step: Step) -> None:
        """Find the companions of the results of one operation."""
        parts = [(node, part) for node in nodes_in((step.args, step.kwargs)) if (part := self.of(node)) is not None]
        if not parts or not step.results:
            return
        imaged = any(self.is_signal(node) for node, _ in parts)
        rule: Callable[..., Any] | None = RULES.get(step.name)
        try:
            found = rule(self, step) if rule is not None else by_kind(self, step)
            found = found if isinstance(found, list) else [found]
            found = [part if part is None else part.expand(n.shape) for part, n in zip(found, step.results, strict=False)]
        except FAILURES as error:
            if out_of_memory(error):
                raise
            found = [None]
        shape = step.results[0].shape
        for node in step.results[len(found) :]:  # such as a norm's statistics, which are seldom used
            if imaged:
                self._imaged.add(node)
            self._found[node] = (
                found[0] if node.shape == shape and found[0] is not None else partial(self._all, parts, imaged, node)
            )
        for node, part in zip(step.results, found, strict=False):
            if part is None:
                part = self._all(parts, imaged, node)
            elif not imaged and step.name not in ZERO_KEEPING:
                part = 1 + part - part.detach()
            self._write(node, part, imaged)
            passed = step.name in PASSED_ON and any(n.root.gate for n, _ in parts)
            node.root.gate = node.view is None and (passed or step.name in GATES)

    def _all(self, parts: list[tuple[Node, torch.Tensor]], imaged: bool, node: Node) -> torch.Tensor:
        """Return the companion of a result that depends on all arguments."""
        signals = [part for n, part in parts if imaged == self.is_signal(n)]
        rest = [part for n, part in parts if imaged != self.is_signal(n)]
        return everything(signals, node, rest)
