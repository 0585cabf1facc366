"""The precision of training and evaluation: float32, TF32, or mixed.

With TF32, a card rounds the factors of convolutions and matrix products to 10 bits after the point, and adds up in float32. In
mixed precision, the forward pass is in half precision where that is safe, weights and their updates in float32; the course calls
this quantization (`--quantization`). All stored numbers keep their full number of bits. Scores, masks and comparisons of networks
are always in float32.
"""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch

from Utils.base.errors import Refused

FLOAT32, TF32 = "float32", "tf32"
TEXTS = (FLOAT32, TF32, "mixed: bfloat16 and float32", "mixed: float16 and float32")  # in records
TENSOR_CORES = (8, 0)  # compute capability of the first cards with TF32


class PrecisionOptions(Protocol):
    """The options that choose a precision."""

    precision: str | None
    quantization: bool

    def reads(self, part: str) -> bool:
        """Tell whether the experiment reads this part of the command line."""


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
    """The numbers that a network computes in, in training and evaluation.

    Attributes:
        device: the device that it computes on.
        dtype: the type that convolutions and matrix products compute in.
        tf32: whether those of float32 may use TF32.
        note: the line for the reader if it is not the precision that was asked; else "".
        scaler: for float16 the one gradient scaler of a training phase; None otherwise.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32, tf32: bool = False, note: str = "") -> None:
        self.device, self.dtype, self.tf32, self.note = device, dtype, tf32, note
        self.scaler = torch.amp.GradScaler(device.type) if dtype == torch.float16 else None

    @classmethod
    def of(
        cls, options: PrecisionOptions, device: torch.device, recorded: str | None = None, *, touch: bool = True
    ) -> Precision:
        """Choose the precision of a run.

        `--quantization` gives bfloat16 where the device computes in it and float16 on older cards. Otherwise it is the precision
        that the run has recorded, that of `--precision`, or by default TF32 on a card and float32 on a CPU. A device without
        TF32 computes in float32. So does an experiment that does not train.

        Args:
            options: the options of the run.
            device: the device that computes.
            recorded: the text of the precision in which the run was begun; None if it begins now.
            touch: whether the card may be asked what it can do; if not, it counts as a recent one.

        Raises:
            Refused: bfloat16 was asked by name, and the card has none.
        """
        if not options.reads("train"):
            return cls(device)
        card = device.type == "cuda"
        if options.quantization and options.precision is None:
            older = card and touch and not torch.cuda.is_bf16_supported(including_emulation=False)
            return cls(device, torch.float16 if older else torch.bfloat16)
        able = card and (not touch or torch.cuda.get_device_capability(device) >= TENSOR_CORES)
        usual = options.precision or (TF32 if able else FLOAT32)
        wanted = recorded or usual
        if wanted == "bf16" or wanted.startswith("mixed"):
            if card and touch and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise Refused("--precision bf16: this card has no bfloat16, --quantization takes float16 there")
            return cls(device, torch.bfloat16)
        if wanted == TF32 and not able:
            begun = "this run was begun in tf32" if recorded else "--precision tf32"
            return cls(device, note=f"{begun}: this device has no TF32, it computes in float32")
        note = f"this run goes on in {recorded}, in which it was begun" if recorded and recorded != usual else ""
        return cls(device, tf32=wanted == TF32, note=note)

    def anew(self) -> Precision:
        """Return the same precision for a phase of training, with a gradient scaler of its own."""
        return Precision(self.device, self.dtype, self.tf32)

    def __str__(self) -> str:
        if self.dtype == torch.float32:
            return TF32 if self.tf32 else FLOAT32
        return f"mixed: {str(self.dtype).removeprefix('torch.')} and float32"

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of convolutions in training: that of a card's tensor cores where they compute, or the usual one."""
        tensor_cores = self.device.type == "cuda" and (self.tf32 or self.dtype != torch.float32)
        return torch.channels_last if tensor_cores else torch.contiguous_format

    def announce(self) -> None:
        """Print a line on the precision where it is mixed, and a NOTE where it is slower here, or not the one that was asked."""
        if self.dtype != torch.float32:
            print(f"Mixed precision: {str(self.dtype).removeprefix('torch.')} in the forward pass, weights stay float32.")
            if self.device.type == "cpu" and not computes_bfloat16():
                print("NOTE: mixed precision is slower than float32 on this processor: it has no AMX, or may not use it")
        if self.note:
            print(f"NOTE: {self.note}")

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Allow TF32 on a card, or forbid it, as this precision says; afterwards the setting is that of before.

        Training and evaluation enter it, captures included; everything else is computed without TF32 (`choose_device`).
        """
        if self.device.type != "cuda":
            yield
            return
        before = _allow_tf32(self.tf32, self.tf32)
        try:
            yield
        finally:
            _allow_tf32(*before)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context for forward passes (within `computing`)."""
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


def _allow_tf32(convolutions: bool, products: bool) -> tuple[bool, bool]:
    """Allow or forbid TF32 in convolutions and in matrix products; return the settings of before.

    torch suggests a newer setting here, which excludes the older one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    return before
