"""Gradients of the loss with respect to the effective weights of a masked network, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from Models.masking import Prunable
from Models.shapes import eval_mode

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def gradients_by_batch(
    model: nn.Module, layers: Mapping[str, Prunable], batches: Batches, weights: Mapping[str, torch.Tensor] | None = None
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield, for each batch, layer -> the gradient of its mean loss; layers that the loss does not depend on are left out.

    The effective weight w * m is the leaf, not w, so that a pruned weight has the gradient of switching it on. `weights` replace
    those of the model. The network is in eval mode; the model, its gradients and its hooks do not change.
    """
    leaves = {
        name: ((p.weight * p.mask) if weights is None else weights[name].to(p.weight)).detach().clone().requires_grad_()
        for name, p in layers.items()
    }
    named = {layers[name].name: leaf for name, leaf in leaves.items()}
    with eval_mode(model):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(torch.func.functional_call(model, named, (images,)), labels)
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            yield {name: gradient for name, gradient in zip(leaves, found, strict=True) if gradient is not None}
