"""Mixed precision: the forward pass in half precision where that is safe, weights and their updates in float32.

What the course calls quantization (`--quantization`) is this; nothing is stored in fewer bits.
"""

from __future__ import annotations

import contextlib
import os
import platform
from contextlib import AbstractContextManager
from typing import Any

import torch


def computes_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16 faster than of float32: x86 with AMX, where oneDNN may use it.

    AVX-512 with bfloat16 instructions takes 1.25 times as long as float32 for a training step of ResNet20, without them 2.6
    times, AVX2 11 times. Of other processors nothing is known: they count as able.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "DEFAULT")).upper()
    return torch.cpu._is_amx_tile_supported() and ("AMX" in allowed or allowed in ("DEFAULT", "ALL", ""))


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
    def of(cls, quantization: bool, device: torch.device) -> Precision:
        """With `--quantization` bfloat16 where the device computes in it, float16 on older CUDA devices; else float32."""
        if not quantization:
            return cls(device)
        older = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(device, torch.float16 if older else torch.bfloat16)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return name if self.dtype == torch.float32 else f"mixed: {name} and float32"

    def announce(self) -> None:
        """Say what `--quantization` is, where the precision is mixed, and where this processor is slower with it."""
        if self.dtype != torch.float32:
            print(f"Mixed precision: {str(self.dtype).removeprefix('torch.')} in the forward pass, weights stay float32.")
            if self.device.type == "cpu" and not computes_bfloat16():
                print("NOTE: --quantization is slower than float32 on this processor: it has no AMX, or may not use it")

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
