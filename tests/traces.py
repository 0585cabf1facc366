"""Chrome traces made by hand, in the words that kineto writes; times in microseconds."""

from __future__ import annotations

import gzip
import json

from Utils.options.types import Options

PID, MAIN, AUTOGRAD = 100, 100, 117


def x(category, name, start, length, pid=PID, tid=MAIN, **args):
    """A complete event."""
    event = {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": start, "dur": length, "args": args}
    return event | ({"cat": category} if category else {})


def op(name, start, length, tid=MAIN, **args):
    return x("cpu_op", name, start, length, tid=tid, **args)


def mark(name, start, length, tid=MAIN):
    return x("user_annotation", name, start, length, tid=tid)


def step(number, start, length):
    """As on a GPU: the annotation, and its shadow on the stream, which is no work."""
    shadow = x("gpu_user_annotation", f"ProfilerStep#{number}", start + 1, length, pid=0, tid=7)
    return [mark(f"ProfilerStep#{number}", start, length), shadow]


def kernel(correlation, launch, start, length, name="some_kernel", tid=MAIN, stream=7, device=0, call="cudaLaunchKernel", **args):
    """A launch on thread `tid` at time `launch` (3 us) and what it runs."""
    category = "gpu_memcpy" if name.startswith("Memcpy") else "gpu_memset" if name.startswith("Memset") else "kernel"
    found = [] if launch is None else [x("cuda_runtime", call, launch, 3, tid=tid, correlation=correlation, cbid=211)]
    work = {"device": device, "stream": stream, "correlation": correlation} | args
    flow = {"ph": "s", "id": correlation, "pid": PID, "tid": tid, "ts": launch or start, "cat": "ac2g", "name": "ac2g"}
    return [*found, flow, x(category, name, start, length, pid=device, tid=stream, **work)]


def convolution(start, length, tid=MAIN, **args):
    """The nest that PyTorch makes of a convolution."""
    names = ("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::cudnn_convolution")
    return [op(name, start + i, length - 2 * i, tid, **(args if i == 0 else {})) for i, name in enumerate(names)]


def write(path, events, bare=False, zipped=False, **outer):
    """Save events, nested lists of them too; returns the path."""
    flat = list(flatten(events))
    content = flat if bare else {"schemaVersion": 1, "displayTimeUnit": "ns", **outer, "traceEvents": flat, "traceName": "t"}
    data = json.dumps(content, indent=1).encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def flatten(events):
    for event in events:
        if isinstance(event, list):
            yield from flatten(event)
        else:
            yield event


def options(path, result_dir="Results/data", **others):
    return Options(experiment="trace", trace=str(path), result_dir=str(result_dir), **others)
