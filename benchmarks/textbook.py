"""The textbook version of the work, as in Synaptic-Flow: the other side of each comparison.

Images are loaded one by one through PIL transforms and a `DataLoader`. Layers multiply their mask in every forward pass. A round
of pruning concatenates the scores, takes `kthvalue`, and writes masks with `where`. Losses are read back after each step.
Optimizers are not fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from benchmarks.images import CIFAR_STATISTICS, MNIST_STATISTICS, Images, cifar_like, mnist


class MaskedLinear(nn.Linear):
    """A linear layer that multiplies its masks in each forward."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("weight_mask", torch.ones_like(self.weight, requires_grad=False))
        self.register_buffer("bias_mask", torch.ones_like(self.bias, requires_grad=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs] -> [B, outputs]."""
        return nn.functional.linear(x, self.weight_mask * self.weight, self.bias_mask * self.bias)


class MaskedConv2d(nn.Conv2d):
    """A convolution that multiplies its masks in each forward."""

    def __init__(self, inputs: int, outputs: int, size: int, **kwargs: object) -> None:
        super().__init__(inputs, outputs, size, **kwargs)
        self.register_buffer("weight_mask", torch.ones_like(self.weight, requires_grad=False))
        if self.bias is not None:
            self.register_buffer("bias_mask", torch.ones_like(self.bias, requires_grad=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs, H, W] -> [B, outputs, H', W']."""
        bias = None if self.bias is None else self.bias_mask * self.bias
        return self._conv_forward(x, self.weight_mask * self.weight, bias)


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that multiplies its masks in each forward."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("weight_mask", torch.ones(features))
        self.register_buffer("bias_mask", torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same."""
        if self.training:
            self.num_batches_tracked = self.num_batches_tracked + 1
        weight, bias = self.weight_mask * self.weight, self.bias_mask * self.bias
        statistics = (self.running_mean, self.running_var)
        return nn.functional.batch_norm(x, *statistics, weight, bias, self.training, self.momentum, self.eps)


class MaskedIdentity2d(nn.Module):
    """A multiplier of ones per channel with its mask, the identity shortcut; it is not trained."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features, 1, 1), requires_grad=False)
        self.register_buffer("weight_mask", torch.ones(features, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same."""
        return x * (self.weight_mask * self.weight)


def masked(model: nn.Module) -> nn.Module:
    """Copy one of the project's networks, with the same weights, into masked layers."""

    def convert(module: nn.Module) -> nn.Module:
        from Models.layers import Identity2d

        if isinstance(module, nn.Linear):
            new: nn.Module = MaskedLinear(module.in_features, module.out_features)
        elif isinstance(module, nn.Conv2d):
            new = MaskedConv2d(module.in_channels, module.out_channels, module.kernel_size, stride=module.stride,
                               padding=module.padding, bias=module.bias is not None)  # fmt: skip
        elif isinstance(module, nn.BatchNorm2d):
            new = MaskedBatchNorm2d(module.num_features)
        elif isinstance(module, Identity2d):
            new = MaskedIdentity2d(module.weight.shape[0])
        else:
            for name, child in module.named_children():
                setattr(module, name, convert(child))
            return module
        new.load_state_dict(module.state_dict(), strict=False)
        return new

    return convert(model)


def prunable(model: nn.Module) -> list[tuple[torch.Tensor, nn.Parameter]]:
    """Return (mask, weight) of every convolution and linear layer."""
    return [(m.weight_mask, m.weight) for m in model.modules() if isinstance(m, MaskedConv2d | MaskedLinear)]


def keep(scores: list[torch.Tensor], masks: list[torch.Tensor], density: float) -> None:
    """Mask all weights up to the k-th smallest score."""
    every = torch.cat([s.flatten() for s in scores])
    k = int((1 - density) * every.numel())
    if k < 1:
        return
    threshold, _ = torch.kthvalue(every, k)
    for score, mask in zip(scores, masks, strict=True):
        mask.copy_(torch.where(score <= threshold, torch.tensor([0.0]), torch.tensor([1.0])))


def synflow(model: nn.Module, density: float, rounds: int, shape: tuple[int, ...]) -> None:
    """Prune with SynFlow: absolute values and signs in place, in each round."""
    pairs = prunable(model)
    model.eval()
    for k in range(rounds):
        signs = {}
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                signs[name] = torch.sign(tensor)
                tensor.abs_()
        model(torch.ones(1, *shape)).sum().backward()
        scores = [torch.clone(w.grad * w).detach().abs_() for _, w in pairs]
        for _, w in pairs:
            w.grad.zero_()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.mul_(signs[name])
        keep(scores, [m for m, _ in pairs], density ** ((k + 1) / rounds))


def snip(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Compute SNIP's scores through the gradient of the masks."""
    pairs = prunable(model)
    model.eval()
    for mask, _ in pairs:
        mask.requires_grad = True
    for x, y in batches:
        nn.functional.cross_entropy(model(x), y).backward()
    scores = [torch.clone(mask.grad).detach().abs_() for mask, _ in pairs]
    for mask, weight in pairs:
        weight.grad.zero_()
        mask.grad.zero_()
        mask.requires_grad = False
    norm = torch.cat([s.flatten() for s in scores]).sum()
    return [s.div_(norm) for s in scores]


def grasp(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Compute GraSP's scores in two passes: the gradient without a graph, then with one."""
    pairs = prunable(model)
    weights = [w for _, w in pairs]
    model.eval()
    stopped: torch.Tensor | float = 0
    for x, y in batches:
        loss = nn.functional.cross_entropy(model(x) / 200, y)
        stopped = stopped + torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights)])
    for x, y in batches:
        loss = nn.functional.cross_entropy(model(x) / 200, y)
        grads = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights, create_graph=True)])
        (stopped * grads).sum().backward()
    scores = [torch.clone(w.grad * w).detach() for w in weights]
    for w in weights:
        w.grad.zero_()
    norm = torch.cat([s.flatten() for s in scores]).sum().abs() + 1e-10
    return [s.div_(norm) for s in scores]


class _Transformed(Dataset):
    """PIL images and labels, transformed one at a time."""

    def __init__(self, images: Images, transform: Callable[[object], torch.Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images.picture(index)), int(self.images.labels[index])


def mnist_loader(train: bool, batch_size: int, indices: Sequence[int] | None = None) -> DataLoader:
    """Load MNIST, or its images `indices`, through ToTensor and Normalize; training images are shuffled."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*MNIST_STATISTICS)])
    images: Dataset = _Transformed(mnist(train), transform)
    return DataLoader(images if indices is None else Subset(images, indices), batch_size, shuffle=train)


def cifar_loader(batch_size: int) -> DataLoader:
    """Load images of CIFAR-10's size through crop, flip, ToTensor and Normalize."""
    steps = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize(*CIFAR_STATISTICS)])
    return DataLoader(_Transformed(cifar_like(), transform), batch_size, shuffle=True)


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator | DataLoader) -> float:
    """Train one epoch; the loss is read back after each step."""
    model.train()
    total, count = 0.0, 0
    for x, y in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        total += loss.item() * len(y)
        count += len(y)
        loss.backward()
        optimizer.step()
    return total / count


def evaluate(model: nn.Module, batches: Iterator | DataLoader) -> tuple[float, float, float]:
    """Compute loss, top-1 and top-5, read back after each batch."""
    model.eval()
    total = hits1 = hits5 = count = 0.0
    with torch.no_grad():
        for x, y in batches:
            output = model(x)
            total += nn.functional.cross_entropy(output, y).item() * len(y)
            _, predicted = output.topk(5, dim=1)
            correct = predicted.eq(y.view(-1, 1).expand_as(predicted))
            hits1 += correct[:, :1].sum().item()
            hits5 += correct.sum().item()
            count += len(y)
    return total / count, 100 * hits1 / count, 100 * hits5 / count
