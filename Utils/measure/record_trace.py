"""A trace of one inference step by PyTorch's profiler, as a file that chrome://tracing and Perfetto open."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from Models.shapes import eval_mode
from Utils.compute.precision import Precision

WARM_UP = 5
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # keeps kineto's notes and its search for GPUs off standard error
ADVICE = "try another version of torch, or of the GPU's driver; under WSL and in some containers CUPTI may not trace"


def write_trace(path: Path, model: nn.Module, images: torch.Tensor, precision: Precision) -> None:
    """Profile exactly one forward pass of `model` over `images` [B, C, H, W] in eval mode, and write it to `path`.

    Annotations around leaf modules name the layers. The first profiler session of a process may lose its kernels, so one session
    is thrown away first. If the profiler recorded no kernels of a CUDA device, a NOTE says so; the trace then shows only the
    host.
    """
    cuda = images.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda

    def step() -> None:
        with precision.autocast():
            model(images)
        if cuda:
            torch.cuda.synchronize(images.device)

    with precision.computing(), eval_mode(model), torch.no_grad():
        for _ in range(WARM_UP):
            step()
        with profile(activities=activities):
            step()
        plan = schedule(wait=0, warmup=1, active=1, repeat=1)
        with _named_layers(model), profile(activities=activities, schedule=plan, record_shapes=True) as profiler:
            for _ in range(2):  # the first step warms the profiler up
                step()
                profiler.step()
    profiler.export_chrome_trace(str(path))
    if cuda:
        _note_missing_kernels(json.loads(path.read_text(encoding="utf-8")))


def _note_missing_kernels(trace: dict[str, Any]) -> None:
    if not any(event.get("cat") == "kernel" for event in trace["traceEvents"]):
        print(f"NOTE: --save-trace: the profiler recorded no CUDA kernels; {ADVICE}")


@contextlib.contextmanager
def _named_layers(model: nn.Module) -> Iterator[None]:
    """Annotate the forward pass of every leaf module with its name."""
    handles, open_ranges = [], []

    def enter(name: str) -> Any:
        def hook(*_: object) -> None:
            open_ranges.append(record_function(name))
            open_ranges[-1].__enter__()

        return hook

    def leave(*_: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        if not any(True for _ in module.children()):
            handles.append(module.register_forward_pre_hook(enter(f"{name or type(model).__name__} {type(module).__name__}")))
            handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
