"""GraSP: gradient signal preservation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from Pruners.base import Problem, Pruner

HARD_SIGMOIDS = (F.hardsigmoid, torch._C._nn.hardsigmoid, torch._C._nn.hardsigmoid_)


class GraSP(Pruner):
    """Score w * (H g) / |sum of all|, with g = dL/dw and H the Hessian of L; L is taken on logits divided by 200.

    The largest stay: removing a weight with a large w * (H g) would reduce the gradient flow g.g most. Wang, Zhang and Grosse
    2020, arXiv 2002.07376, equation 8 and algorithm 2; the paper writes the negative score, and removes the largest of those.
    Needs data: a first pass over the scoring batches adds up g, a second pass H g. Attention is computed as plain products of
    matrices (`SDPBackend.MATH`), and hard sigmoids as relu6(x + 3) / 6, because the fused kernels have no second derivatives.
    """

    needs_data = True
    formula = "w (H g) / |sum w (H g)|,  g = dL/dw at logits / 200"
    source = "Wang et al. 2020, arXiv 2002.07376, eq. 8"
    temperature = 200.0
    epsilon = 1e-10

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return normalised Hessian-gradient products, of either sign."""
        with sdpa_kernel(SDPBackend.MATH), _TwiceDifferentiable():
            return self._score(problem)

    def _score(self, problem: Problem) -> list[torch.Tensor]:
        weights = problem.weights()
        stopped: list[torch.Tensor] | None = None
        if len(problem.batches) > 1:  # with one batch the gradients of the second pass are the sum already
            stopped = [torch.zeros_like(w) for w in weights]
            for batch in problem.batches:
                torch._foreach_add_(stopped, self._gradients(problem, weights, batch))
        products = [torch.zeros_like(w) for w in weights]
        for batch in problem.batches:
            gradients = self._gradients(problem, weights, batch, create_graph=True)
            fixed = stopped or [g.detach() for g in gradients]
            flow = torch.stack([(f * g).sum() for f, g in zip(fixed, gradients, strict=True)]).sum()
            torch._foreach_add_(products, problem.gradients(flow, weights))
        scores = [h * w.detach() for h, w in zip(products, weights, strict=True)]
        norm = torch.stack([s.sum() for s in scores]).sum().abs() + self.epsilon
        return [s.div_(norm) for s in scores]

    def _gradients(
        self, problem: Problem, weights: list[torch.Tensor], batch: tuple[torch.Tensor, torch.Tensor], create_graph: bool = False
    ) -> list[torch.Tensor]:
        images, labels = batch
        loss = problem.loss(problem.forward(weights, images) / self.temperature, labels)
        return problem.gradients(loss, weights, create_graph)


class _TwiceDifferentiable(TorchFunctionMode):
    """A mode that computes hard sigmoids by a function that has second derivatives."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in HARD_SIGMOIDS:
            return func(*args, **kwargs or {})
        x = args[0]
        inplace = func is torch._C._nn.hardsigmoid_ or (len(args) > 1 and args[1]) or (kwargs or {}).get("inplace", False)
        found = F.relu6(x + 3) / 6
        return x.copy_(found) if inplace else found
