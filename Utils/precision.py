"""Mixed precision: the forward pass in half precision where that is safe, weights and their updates in float32.

What the course calls quantization (`--quantization`) is this; nothing is stored in fewer bits.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch


class Precision:
    """How a network computes in training and evaluation: float32, or mixed with bfloat16 or float16.

    Attributes:
        dtype: what convolutions and matrix products compute in.
        scaler: for float16 the one gradient scaler of a training phase; None otherwise.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        self.scaler = torch.amp.GradScaler(device.type) if dtype == torch.float16 else None

    @classmethod
    def of(cls, options: Any, device: torch.device) -> Precision:
        """With `--quantization` bfloat16 where the device computes in it, float16 on older CUDA devices; else float32."""
        if not getattr(options, "quantization", False):
            return cls(device)
        older = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(device, torch.float16 if older else torch.bfloat16)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name if self.dtype == torch.float32 else f"mixed: {name} and float32"

    def announce(self) -> None:
        """Say what `--quantization` is, where the precision is mixed."""
        if self.dtype != torch.float32:
            print(f"Mixed precision: {str(self.dtype).removeprefix('torch.')} in the forward pass, weights stay float32.")

    def autocast(self) -> AbstractContextManager[None]:
        """For forward passes."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of `loss` and a step; with float16, scaled, and left out where they overflowed."""
        if self.scaler is None:
            loss.backward()
            optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()

    def state(self) -> dict[str, Any]:
        """The scaler's state, empty without one."""
        return self.scaler.state_dict() if self.scaler else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`."""
        if self.scaler and state:
            self.scaler.load_state_dict(state)
