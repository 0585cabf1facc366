"""The export of a network to files that programs without this project load: a `torch.export` program, and ONNX.

Both are made from the network on the CPU, in float32 and eval mode, and hold no paths of this machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from Utils.base.text import one_line

INPUT, OUTPUT, BATCH = "images", "outputs", "batch"
CLOSE = 1e-5  # share of the largest output


@dataclass(frozen=True)
class Exported:
    """A network as files.

    Attributes:
        pt2, onnx: the content of `compact.pt2` and `compact.onnx`; None if there is no such file.
        any_batch: whether they take batches of any size; else, only of one image.
        notes: a line for each file that is missing or more limited than expected.
    """

    pt2: bytes | None
    onnx: bytes | None
    any_batch: bool
    notes: list[str]


def has_onnx() -> bool:
    """Tell whether the optional packages for ONNX are installed."""
    return all(importlib.util.find_spec(package) for package in ("onnx", "onnxscript"))


def export(model: nn.Module, images: torch.Tensor, onnx: bool) -> Exported:
    """Export `model`, which is on the CPU, as a `torch.export` program, and with `onnx` as ONNX too.

    The program is loaded again and compared with the network on `images` [B, C, H, W], in batches of different sizes.
    """
    notes: list[str] = []
    program, any_batch = None, True
    try:
        program, pt2 = _program(model, images, any_batch)
    except Exception as reason:  # exporters raise nearly anything on a network that they cannot follow
        try:
            any_batch = False
            program, pt2 = _program(model, images, any_batch)
            notes.append(f"compact.pt2 and compact.onnx take batches of one image only ({_text(reason)})")
        except Exception as error:
            return Exported(None, None, False, [f"no compact.pt2: torch.export cannot follow this network ({_text(error)})"])
    content = None
    if onnx:
        try:
            content = _onnx(program, any_batch)
        except Exception as error:
            notes.append(f"no compact.onnx: this network cannot be written as ONNX ({_text(error)})")
    return Exported(pt2, content, any_batch, notes)


def _text(error: Exception) -> str:
    """Return the beginning of the error, in one line."""
    line = f"{type(error).__name__}: {one_line(str(error))}"
    return line if len(line) <= 200 else f"{line[:197]}..."


def _program(model: nn.Module, images: torch.Tensor, any_batch: bool) -> tuple[ExportedProgram, bytes]:
    """Return the program and its file.

    Raises:
        Exception: the exporter cannot follow the network, or the program computes something else.
    """
    enough = torch.cat([images] * 3)[:3]
    example = enough[:2] if any_batch else enough[:1]
    shapes = ({0: Dim(BATCH, min=1)},) if any_batch else None
    buffer = io.BytesIO()
    with quiet():
        program = torch.export.export(model, (example,), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        torch.export.save(program, buffer)
        loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    for batch in (enough, enough[:1]) if any_batch else (example,):
        with torch.no_grad():
            expected, found = first(model(batch)), first(loaded(batch))
        if not float((found - expected).abs().amax()) <= CLOSE * float(expected.abs().amax()):
            raise RuntimeError(f"the program's outputs are not those of the network for a batch of {len(batch)}")
    return program, buffer.getvalue()


def _onnx(program: ExportedProgram, any_batch: bool) -> bytes:
    """Return the ONNX file of a program; one file holds up to 2 GB."""
    import onnx

    shapes = ({0: BATCH},) if any_batch else None
    with quiet():
        made = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=shapes
        )
        proto = made.model_proto
        onnx.checker.check_model(proto)
        return proto.SerializeToString()


def first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the outputs of a network, or the first of several."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the prints, logs and warnings of exporters off the terminal; their errors pass."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
