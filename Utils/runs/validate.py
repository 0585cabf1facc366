"""Whether what `args.json` and `summary.json` hold is what runs write: a file that something else wrote, or spoilt, is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from Utils.base.errors import Refused
from Utils.options.flags import option_pair
from Utils.options.table import Option, read_by

LARGEST = 1e300  # what arithmetic with a number may not leave
NUMBERS = (
    "top1_last", "top1_best", "best_epoch", "top5_last", "test_loss_last", "density", "effective_density", "params_kept",
    "params_total", "flops_kept", "flops_total", "flops_effective", "macs_kept", "macs_total",
)  # fmt: skip
TIMES = ("total_seconds", "dense_total_seconds", "jobs")  # of `inference`, which holds words too
NO_UNICODE = "text that is no Unicode"
SHOWN = 40  # letters of a value
LISTS = ("collapsed_layers", "findings")


def check_options(options: Mapping[str, Any], experiment: str) -> None:
    """Refuse options of a run that have not the types that their flags give.

    Raises:
        Refused: it names the option and its value.
    """
    if wrong := _wrong_option(options, experiment):
        raise Refused(f"args.json: {wrong}")


def check_result(summary: Mapping[str, Any], file: str = "summary.json") -> None:
    """Refuse a summary, or a part of one, in which anything but a finite number, or null, stands for a number.

    Raises:
        Refused: it names the key and its value.
    """
    if wrong := _wrong_result(summary):
        raise Refused(f"{file}: {wrong}")


def is_number(value: Any) -> bool:
    """Whether `value` is a number that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _wrong_option(options: Mapping[str, Any], experiment: str) -> str:
    if not _is_unicode(options):
        return NO_UNICODE
    for option in read_by(experiment):
        if option.dest in options and option.parse is not option_pair and not _fits(option, options[option.dest]):
            return _said(option.dest, options[option.dest])
    for name in ("level", "scale"):  # an option of a grid, or of an assignment, that its cells have
        if not is_number(options.get(name, 1)):
            return _said(name, options[name])
    argv = options.get("argv", [])
    return "" if isinstance(argv, list) and all(isinstance(word, str) for word in argv) else _said("argv", argv)


def _wrong_result(summary: Mapping[str, Any]) -> str:
    if not _is_unicode(summary):
        return NO_UNICODE
    found: dict[str, Any] = {name: summary.get(name) for name in NUMBERS}
    for name in ("seconds", "peak_memory_bytes", "inference", "files", "load"):
        if not isinstance(summary.get(name) or {}, dict):
            return _said(name, summary[name])
    for name in ("seconds", "peak_memory_bytes", "load"):
        found |= {f"{name}: {key}": value for key, value in (summary.get(name) or {}).items()}
    inference = summary.get("inference") or {}
    found |= {f"inference: {name}": inference.get(name) for name in TIMES}
    batch = inference.get("batch_seconds") or {}
    found["inference: batch_seconds"] = batch.get("median") if isinstance(batch, dict) else batch
    for name, value in found.items():
        if value is not None and not is_number(value):
            return _said(name, value)
    listed = (name for name in LISTS if not isinstance(summary.get(name) or [], list))
    return next((_said(name, summary[name]) for name in listed), "")


def _fits(option: Option, value: Any) -> bool:
    if option.parse is None:
        return isinstance(value, bool)
    if option.nargs:
        return isinstance(value, list | tuple) and all(_is_one(option, one) for one in value)
    return _is_one(option, value) or (value is None and option.default is None)


def _is_one(option: Option, value: Any) -> bool:
    return isinstance(value, str) if option.is_text else is_number(value)


def _is_unicode(content: Mapping[str, Any]) -> bool:
    """JSON may hold half a surrogate pair, which no file takes."""
    try:
        json.dumps(content, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(name: str, value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < LARGEST else "a number without end"
    return f"{name} is {text if len(text) <= SHOWN else f'{text[:SHOWN]}...'}, which no run writes"
