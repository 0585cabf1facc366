"""Mixed precision: the forward pass in half precision where that is safe, weights and their updates in float32.

This is what the course calls quantization (`--quantization`). All stored numbers keep their full number of bits.
"""

from __future__ import annotations

import contextlib
import os
import platform
from contextlib import AbstractContextManager
from typing import Any

import torch


def computes_bfloat16() -> bool:
    """Tell whether this processor multiplies matrices in bfloat16 faster than in float32.

    It does on x86 with AMX, if oneDNN may use that. A training step of ResNet20 takes 1.25 times as long as in float32 on AVX-512
    with bfloat16 instructions, 2.6 times on AVX-512 without them, and 11 times on AVX2. Other processors were not measured and
    count as able.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "DEFAULT")).upper()
    return torch.cpu._is_amx_tile_supported() and ("AMX" in allowed or allowed in ("DEFAULT", "ALL", ""))


class Precision:
    """The numbers that a network computes in, in training and evaluation: float32, or mixed with bfloat16 or float16.

    Attributes:
        device: the device that it computes on.
        dtype: the type that convolutions and matrix products compute in.
        scaler: for float16 the one gradient scaler of a training phase; None otherwise.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        self.scaler = torch.amp.GradScaler(device.type) if dtype == torch.float16 else None

    @classmethod
    def of(cls, quantization: bool, device: torch.device) -> Precision:
        """Choose the precision.

        `--quantization` gives bfloat16 where the device computes in it and float16 on older CUDA devices. Without it, it is
        float32.
        """
        if not quantization:
            return cls(device)
        older = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(device, torch.float16 if older else torch.bfloat16)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name if self.dtype == torch.float32 else f"mixed: {name} and float32"

    def announce(self) -> None:
        """Print a line on the precision where it is mixed, and a NOTE where this processor is slower with it."""
        if self.dtype != torch.float32:
            print(f"Mixed precision: {str(self.dtype).removeprefix('torch.')} in the forward pass, weights stay float32.")
            if self.device.type == "cpu" and not computes_bfloat16():
                print("NOTE: --quantization is slower than float32 on this processor: it has no AMX, or may not use it")

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context for forward passes."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Compute the gradients of `loss` and take a step; with float16, scale the loss and skip a step that overflowed."""
        if self.scaler is None:
            loss.backward()
            optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the scaler's state; empty without one."""
        return self.scaler.state_dict() if self.scaler else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to `state`."""
        if self.scaler and state:
            self.scaler.load_state_dict(state)
