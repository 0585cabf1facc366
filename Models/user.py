"""Networks from a user's own file: `--model FILE.py:FUNCTION`."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from Models.layers import InputShape, weights_of
from Utils.base.errors import Refused
from Utils.base.inputs import read_input
from Utils.base.own_network import COPY, LARGEST
from Utils.base.text import one_line

PRUNABLE = "these are linear, convolutional, recurrent and attention layers without weight_norm or other parametrizations"
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def network(name: str, input_shape: InputShape, num_classes: int) -> nn.Module:
    """Call FUNCTION(input_shape, num_classes) of FILE.py, where `name` is `FILE.py:FUNCTION`.

    A wrapper that spreads a network over devices, as `nn.DataParallel`, is taken off, wherever it is.

    Raises:
        Refused: no such file or function, an exception in it, or a result that is not a module with weights that can be pruned.
    """
    stem, _, function_name = name.rpartition(".py:")
    file = os.path.abspath(os.path.expanduser(f"{stem}.py"))
    if not os.path.isfile(file):
        raise Refused(f"--model {name}: there is no file {stem}.py")
    alone = os.path.basename(file) == COPY and os.path.isfile(os.path.join(os.path.dirname(file), "args.json"))
    with nullcontext() if alone else _importable(os.path.dirname(file)):  # beside a run's copy lies what nobody has checked
        function = _function(_load(file, name), function_name, name)
        with _refusing(name, file):
            model = function(input_shape, num_classes)
        if not isinstance(model, nn.Module):
            raise Refused(f"--model {name} returned a {type(model).__name__}, not a torch.nn.Module")
        model = _unwrapped(model)
        with _refusing(name, file):
            _materialise(model, input_shape)
    if isinstance(model, torch.jit.ScriptModule):
        raise Refused(f"--model {name} returned a script, whose layers cannot be pruned: return it without torch.jit.script")
    if not any(weights_of(module) for module in model.modules()):
        kind = type(model).__name__
        raise Refused(f"--model {name} returned a {kind} without any layer whose weights can be pruned; {PRUNABLE}")
    return model


def _load(file: str, name: str) -> ModuleType:
    """Run the file as a module of its own name, derived from its path, so that no installed module is hidden by it."""
    module_name = "user_model_" + hashlib.sha256(file.encode()).hexdigest()[:16]
    module = ModuleType(module_name)
    module.__file__ = file
    previous = sys.modules.get(module_name)
    sys.modules[module_name] = module  # dataclasses and pickle look a class's module up there
    try:
        with _refusing(name, file):
            exec(compile(_read(file, name), file, "exec"), vars(module))  # the source, and no bytecode that lies beside it
    except BaseException:
        del sys.modules[module_name]
        if previous is not None:
            sys.modules[module_name] = previous
        raise
    return module


def _read(file: str, name: str) -> bytes:
    try:
        return read_input(Path(file), LARGEST)
    except Refused as error:
        raise Refused(f"--model {name}: {error}") from error


def _function(module: ModuleType, function_name: str, name: str) -> Callable[[InputShape, int], object]:
    function = getattr(module, function_name, None)
    if isinstance(function, nn.Module):
        raise Refused(f"--model {name} is a network itself: name a function (input_shape, num_classes) that returns it")
    if callable(function):
        return function
    own = [key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == module.__name__]
    has = ", ".join(sorted(key for key in own if not key.startswith("_"))) or "none"
    raise Refused(f"--model {name}: the file has no function {function_name or '(empty name)'}; its functions: {has}")


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return `model` with the network inside each wrapper of DataParallel in place of the wrapper."""
    while isinstance(model, WRAPPERS):
        model = model.module
    for name, child in list(model._modules.items()) if not isinstance(model, torch.jit.ScriptModule) else ():
        if child is not None and (inside := _unwrapped(child)) is not child:
            model.add_module(name, inside)
    return model


def _materialise(model: nn.Module, input_shape: InputShape) -> None:
    """Let lazy layers take their sizes from one image, as PyTorch asks for, before anything counts parameters."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        training = model.training
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape))
        model.train(training)


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """Let the file import its neighbours; the folder is searched last, so that a `torch.py` there hides nothing."""
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _refusing(name: str, file: str) -> Iterator[None]:
    """Turn an exception of the user's code into one line with the line number in the file."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if isinstance(error, SyntaxError) and error.filename == file:
            lines.append(error.lineno)
        where = f" (line {lines[-1]})" if lines else ""
        message = _relative_import(error, file) or one_line(f"{type(error).__name__}: {error}")
        raise Refused(f"--model {name} failed{where}: {message}") from error


def _relative_import(error: BaseException, file: str) -> str:
    """Say what to write in place of a relative import, which needs a package; "" for any other error."""
    if not (isinstance(error, ImportError) and "relative import" in str(error)):
        return ""
    frame = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if os.path.isfile(f.filename)), None)
    if frame is None:
        return ""
    tree = ast.parse(Path(frame.filename).read_bytes())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level and n.lineno == frame.lineno]
    if not found:
        return ""
    node, there = found[0], "" if frame.filename == file else f" in {frame.filename}, line {frame.lineno},"
    absolute = ast.ImportFrom(node.module, node.names) if node.module else ast.Import(node.names)
    above = os.path.abspath(os.path.join(os.path.dirname(frame.filename), *[".."] * (node.level - 1)))
    path = f", and start the program with PYTHONPATH={above}" if node.level > 1 else ""
    asked, write = ast.unparse(node), ast.unparse(absolute)
    return f"`{asked}`{there} is relative to a package, but the file is run by itself: write `{write}`{path}"
