"""The forward pass of a network, compiled by torch's inductor together with its gradients (`--compile`).

torch's compiler is imported only where a network is compiled, because the import takes seconds.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from Utils.base.errors import Refused
from Utils.base.text import one_line
from Utils.compute.clock import Clock

BACKEND = "inductor"
OPTIONS = {"fallback_random": True}  # of the inductor: dropout draws what it draws without compilation
LONGEST = 200  # letters of a reason
PHASE = "compile"  # the name under which a clock books the seconds


def check_compiler(device: torch.device) -> None:
    """Check that the programs are installed with which the inductor makes code for `device`; no card is touched.

    Raises:
        Refused: there is no C++ compiler for a processor, or no triton or C compiler for a card.
    """
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise Refused("--compile needs triton on a GPU: pip install triton, or leave --compile out")
        variable, names, language = "CC", ("gcc", "clang"), "C"
    else:
        variable, names, language = "CXX", ("clang++" if sys.platform == "darwin" else "g++",), "C++"
    if asked := os.environ.get(variable):
        names = (asked,)
    if not any(shutil.which(name) for name in names):
        raise Refused(
            f"--compile needs a {language} compiler, and {' or '.join(names)} is not found: install one, name one in the "
            f"variable {variable}, or leave --compile out"
        )


class Compiled:
    """The forward pass of `model`, to be called with images in its place.

    The network itself stays as it is: its modules, hooks and `state_dict` know nothing of the compilation. Each shape of a batch
    is compiled at its first call, for training and for evaluation. A network that cannot be compiled as a whole runs uncompiled
    from then on, which a NOTE says.

    Args:
        model: the network.
        clock: books the first call of each shape under a phase of its own, out of the phase that it interrupts.
        wanted: whether to compile; if not, `forward` is the network itself.

    Attributes:
        after_failure: called when it turns out that the network cannot be compiled.
        reason: why the network runs uncompiled although compilation was wanted; "" if it does not.
    """

    def __init__(self, model: nn.Module, clock: Clock, wanted: bool) -> None:
        self._model, self._clock, self.wanted = model, clock, wanted
        self.reason = ""
        self.after_failure: Callable[[], None] = lambda: None
        self._compiled: Any = None
        self._seen: set[tuple[Any, ...]] = set()

    @property
    def active(self) -> bool:
        """Whether forward passes are compiled."""
        return self.wanted and not self.reason

    @contextmanager
    def phase(self) -> Iterator[None]:
        """Keep the compiled code until the end of the block.

        torch keeps the code of all networks of a class together, eight pieces at most, so that a process that trains many
        networks has to drop it between them.
        """
        if not self.active:
            yield
            return
        import torch._dynamo
        import torch._functorch.config as settings

        # Code for the gradients is made with that of the forward pass, not in the first backward pass.
        early = {name: True for name in ("force_non_lazy_backward_lowering",) if hasattr(settings, name)}  # torch 2.9 may lack it
        try:
            with settings.patch(early):
                yield
        finally:
            torch._dynamo.reset()
            self._compiled = None
            self._seen.clear()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits of `images`."""
        if not self.active:
            return self._model(images)
        key = (self._model.training, torch.is_grad_enabled(), *images.shape)
        if key in self._seen:
            return self._compute(images)
        self._seen.add(key)
        with self._clock.apart(PHASE):
            return self._compute(images)

    def _compute(self, images: torch.Tensor) -> torch.Tensor:
        import torch._dynamo

        if torch._dynamo.config.disable:
            self.give_up("the environment turns torch.compile off")
            return self._model(images)
        if self._compiled is None:
            print("Compiling the training and the evaluation of the network: the first steps take longer.")
            model, options = self._model, OPTIONS if BACKEND == "inductor" else None

            def forward(images: torch.Tensor) -> torch.Tensor:  # compiled in place of the network, to which torch would write
                return model(images)

            self._compiled = torch.compile(forward, backend=BACKEND, options=options, dynamic=False, fullgraph=True)
        try:
            return self._compiled(images)
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
            self.give_up(str(error))  # nothing was computed, because the whole network is one piece of code
            return self._model(images)

    def give_up(self, reason: str) -> None:
        """Run the network uncompiled from now on, for `reason`, and print a NOTE."""
        self.reason = one_line(reason)[:LONGEST]
        print(f"NOTE: the network runs uncompiled, because it cannot be compiled: {self.reason}")
        self.after_failure()
