"""The machine of the runs, as `nvidia-smi` and the system tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from Utils.report.blocks import Table
from Utils.report.report_run import Run

UNKNOWN = "unknown"


def hardware(runs: Sequence[Run]) -> Table:
    """Return a row per machine that made any of the runs: card, driver, CUDA, memory, processor."""
    found = Counter(tuple(_facts(run).items()) for run in runs if run.done)
    rows = [dict(facts) for facts, _ in found.most_common()]
    if len(rows) > 1:
        rows = [{"Runs": str(count)} | dict(facts) for facts, count in found.most_common()]
    text = pd.DataFrame(rows or [{"GPU": UNKNOWN}])
    caption = "GPU hardware details, as nvidia-smi has them, and the processor, of the machine that made the runs."
    return Table("task-2-hardware", caption, text, words=text.shape[1])


def has_card(runs: Sequence[Run]) -> bool:
    """Tell whether any run was made on a card."""
    return any(isinstance(run["machine"], dict) and run["machine"].get("gpu") for run in runs if run.done)


def _facts(run: Run) -> dict[str, str]:
    machine = run["machine"] if isinstance(run["machine"], dict) else {}
    versions = run["versions"] if isinstance(run["versions"], dict) else {}
    return {
        "GPU": str(machine.get("gpu") or "none: the runs were made on the CPU"),
        **({"GPU memory": _size(machine.get("gpu_memory_bytes")), "Driver": _word(machine.get("driver")),
            "CUDA": _word(machine.get("cuda")), "cuDNN": _word(machine.get("cudnn"))} if machine.get("gpu") else {}),
        "CPU": f"{_word(machine.get('cpu'))}, {_word(machine.get('cores'))} cores",
        "Memory": _size(machine.get("memory_bytes")),
        "PyTorch": _word(versions.get("torch")),
    }  # fmt: skip


def _word(value: Any) -> str:
    return UNKNOWN if value in (None, "") else str(value)


def _size(count: Any) -> str:
    return f"{count / 2**30:.0f} GiB" if isinstance(count, int) else UNKNOWN
