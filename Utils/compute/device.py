"""The device that a run computes on: found without touching any card, then opened once, with torch set up for it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Protocol

import torch

from Utils.base.errors import Refused, out_of_memory
from Utils.base.text import one_line
from Utils.compute import processes

# cuBLAS reads this once in a process, at its first product; set here, it also holds for a later run with --deterministic.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CPU = torch.device("cpu")
DRIVER = Path("/proc/driver/nvidia")
LONGEST = 200  # letters of a reason



class DeviceOptions(Protocol):
    """The options that choose a device."""

    gpu: int | None
    no_cuda: bool
    deterministic: bool


_unusable: dict[int, str] = {}  # card -> why torch cannot compute on it
_said: set[str] = set()


def device_of(options: DeviceOptions) -> torch.device:
    """Return `cuda:GPU` where torch finds a card and `--no-cuda` was not given, else the CPU; no card is touched.

    Under torchrun each process gets the card of its number on the machine. A WARNING says once why a card that is present cannot
    be used, or that `--gpu` was given where there is no card.

    Raises:
        Refused: there are cards, but none of that number.
    """
    if options.no_cuda:
        return CPU
    index = processes.device_index(options.gpu or 0)
    count, trouble = _cards()
    if not count:
        if not trouble and options.gpu is not None:
            trouble = f"--gpu {options.gpu}: torch finds no CUDA device on this machine"
        return _fall_back(trouble)
    if index >= count:
        asked = f"--gpu {options.gpu}" if processes.share()[1] == 1 else f"process {index} of this machine"
        raise Refused(f"{asked}: there {'is' if count == 1 else 'are'} {count} CUDA device{'s' * (count > 1)}, numbered from 0")
    return _fall_back(_unusable[index]) if index in _unusable else torch.device("cuda", index)


def choose_device(options: DeviceOptions) -> torch.device:
    """Choose the device as `device_of` does, and open it.

    The device becomes torch's current device, so that no other card is touched, and a sum on it proves that it computes. torch
    computes in float32 (no TF32) and prefers repeatable algorithms; with `--deterministic` it uses only those.

    Raises:
        Refused: there is no such card, or it has no memory free.
    """
    use_determinism(options.deterministic)
    device = device_of(options)
    if device.type == "cpu":
        return device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch suggests a newer setting here, which excludes the older one
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # scores and masks as on the CPU
    torch.backends.cudnn.deterministic = True  # a run that is resumed after a kill ends with the same numbers
    torch.backends.cudnn.benchmark = False
    try:
        _open(device)
    except RuntimeError as error:
        name = f"GPU {device.index}{_name(device)}"
        if out_of_memory(error):
            raise Refused(f"{name} has no memory free: choose another card with --gpu, or --no-cuda") from error
        reason = one_line(str(error))[:LONGEST]
        if processes.share()[1] > 1:
            raise Refused(f"{name} cannot be used ({reason}), and torchrun needs all: give --no-cuda") from error
        _unusable[device.index] = f"{name} cannot be used ({reason})"
        return _fall_back(_unusable[device.index])
    return device


def use_determinism(wanted: bool) -> None:
    """Restrict torch to deterministic algorithms (`--deterministic`), or lift the restriction.

    Each run sets it anew, as the cells of one process may differ. torch does not fill uninitialized memory: the program writes
    every number before it reads it, and filling would cost a seventh of a step.
    """
    torch.use_deterministic_algorithms(wanted)
    torch.utils.deterministic.fill_uninitialized_memory = False


def _cards() -> tuple[int, str]:
    """Count the cards that torch can use; where it is 0, also return why a card that is present cannot be used, or ""."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return count, ""
    if said:
        return 0, f"CUDA cannot be used ({_first_sentence(str(said[0].message))})"
    there = len(list((DRIVER / "gpus").glob("*")))
    if not there:
        return 0, ""
    version = "" if torch.version.cuda else ": this torch is built without CUDA"
    return 0, f"the driver lists {there} GPU{'s' * (there > 1)}, and torch {torch.__version__} finds none{version}"


def _open(device: torch.device) -> None:
    torch.cuda.set_device(device)
    if float((torch.ones(2, device=device) + 1).sum()) != 4:
        raise RuntimeError("1 + 1 came out wrong on it")


def _name(device: torch.device) -> str:
    try:
        return f" ({torch.cuda.get_device_name(device)})"
    except (RuntimeError, AssertionError):
        return ""


def _fall_back(reason: str) -> torch.device:
    """Return the CPU; print the reason, if there is any, once in a process."""
    if reason and reason not in _said:
        _said.add(reason)
        print(f"WARNING: {reason}; the CPU is used")
    return CPU


def _first_sentence(text: str) -> str:
    text = one_line(text.split("(Triggered internally")[0]).removeprefix("CUDA initialization: ")
    return text.split(". ")[0].rstrip(".")[:LONGEST]
