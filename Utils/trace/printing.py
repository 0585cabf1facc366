"""The printed report of a measured step; a saved summary gives the same report."""

from __future__ import annotations

from typing import Any

import pandas as pd

from Utils.base.text import counted, one_line
from Utils.trace.gaps import short

TOP = 10
LAYERS = 60  # rows of the table of layers


def print_report(summary: dict[str, Any], layers: pd.DataFrame) -> None:
    """Print step, busy time and convolutions, then the tables of layers, classes of work, operators and gaps."""
    for line in findings(summary):
        print(line)
    device = summary["on"] == "device"
    if len(layers):
        print("Layers, one per call of a convolution, in the order of the calls; time: at least one of its "
              f"{'kernels' if device else 'operators'} ran:")  # fmt: skip
        print(_layers(layers.head(LAYERS), device))
        if len(layers) > LAYERS:
            print(f"... and {len(layers) - LAYERS} more layers, which trace.csv has")
    print("Classes of work; each instant counts once, for the first class in this list that ran:")
    print(_classes(summary, device))
    what = "self device: time of the kernels that it launched itself, self CPU" if device else "self CPU"
    print(f"Top {min(TOP, len(summary['operators']))} operators; {what}: without the operators inside:")
    print(_operators(summary, device))
    if summary["gaps"]:
        print(f"Largest gaps, in which {'the device did nothing' if device else 'no operator ran'}:")
        print(_gaps(summary, device))


def findings(summary: dict[str, Any]) -> list[str]:
    """Return the sentences that a report quotes."""
    step, busy, found = summary["step"], summary["busy"], summary["attribution"]
    device = summary["on"] == "device"
    running = "at least one kernel, copy or memset ran" if device else "at least one operator ran, on any thread"
    late = f", {step['after_annotation_ms']:.3f} ms of it after the annotation, until its last kernel ended"
    idle = f"; nothing ran for {busy['idle_ms']:.3f} ms"
    earlier = f", work of earlier steps for {busy['earlier_steps_ms']:.3f} ms" if busy["earlier_steps_ms"] else ""
    lines = [
        f"Trace: {one_line(summary['trace'])}",
        f"Step: {step['name']} ({step['chosen']}): {step['wall_ms']:.3f} ms" + late * (step["after_annotation_ms"] > 0),
        f"Busy: {busy['ms']:.3f} ms, {busy['share_of_step']:.1%} of the step: {running}{idle}{earlier}",
    ]
    for row in busy["rows"] if device else ():
        streams = f"{row['streams']} stream{'s' * (row['streams'] > 1)}"
        name = f" ({row['name']})" if row["name"] else ""
        lines.append(f"  device {row['row']}{name}, {streams}: {row['ms']:.3f} ms, {row['share_of_step']:.1%} of the step")
    lines += _convolution(summary["convolution"], device)
    if device:
        lines.append(
            f"Kernels: {found['kernels']}; attributed by their launch {found['by_launch']}, by external id "
            f"{found['by_external_id']}, by their own name {found['by_name']}"
        )
        if found["launches_without_kernel"]:
            lines.append(f"WARNING: {found['launches_without_kernel']} launches have no kernel in the trace: times are too short")
    return lines + _doubts(summary["events"])


def _doubts(events: dict[str, Any]) -> list[str]:
    """Return a line on broken events, which are left out, and one on launches that contradict the external id."""
    lines = []
    if broken := events["broken"]:
        lines.append(f"WARNING: {broken} broken events were left out (no time that makes sense, or begun and never ended)")
    if repaired := events.get("repaired"):
        lines.append(f"NOTE: backslashes are not escaped in {counted(repaired, 'string')}, as in Windows paths: read as such")
    if links := events.get("contradicting_links"):
        lines.append(f"NOTE: {links} launches lie in another operator than the external id names; the id was followed")
    return lines


def _convolution(found: dict[str, Any], device: bool) -> list[str]:
    """Return a line for the forward pass and, where there is a backward pass, one for it and one for both."""
    if not found["both"]["ms"]:
        return ["Convolution: none ran in this step"]
    lines = []
    passes = ("forward", "backward", "both") if found["backward"]["ms"] else ("forward",)
    for name in passes:
        row = found[name]
        label = {"forward": "Convolution", "backward": "Convolution, backward", "both": "Convolution, both"}[name]
        kernels = f"{row['kernels']} kernels of {row['calls']} convolutions" if device else f"{row['calls']} convolutions"
        guessed = f", {row['kernels_by_name']} of them known by their name alone" if row["kernels_by_name"] else ""
        lines.append(
            f"{label}: {row['ms']:.3f} ms, {row['share_of_step']:.1%} of the step, {row['share_of_busy']:.1%} of busy: at least "
            f"one of {kernels} ran{guessed}"
        )
    return lines


def _layers(layers: pd.DataFrame, device: bool) -> str:
    table = layers.drop(columns=["end_ms", "main_kernel", *([] if device else ["kernels"])])
    if (table["pass"] == "forward").all():
        table = table.drop(columns="pass")
    for column in ("input", "weight"):
        if not table[column].fillna("").astype(bool).any():
            table = table.drop(columns=column)
    table["operator"] = table["operator"].str.removeprefix("aten::")
    return _show(table.fillna(""), start_ms="{:.3f}", time_us="{:.1f}", share_of_step="{:.2%}", share_of_busy="{:.2%}")


def _classes(summary: dict[str, Any], device: bool) -> str:
    table = pd.DataFrame([row for row in summary["classes"] if row["activities"]])
    table = table.rename(columns={"activities": "activities" if device else "operators"})
    return _show(table, ms="{:.3f}", share_of_busy="{:.2%}", share_of_step="{:.2%}")


def _operators(summary: dict[str, Any], device: bool) -> str:
    table = pd.DataFrame(summary["operators"][:TOP])
    table["operator"] = table["operator"].str.slice(0, 60)
    table = table if device else table.drop(columns="self_device_ms")
    return _show(table, self_device_ms="{:.3f}", self_cpu_ms="{:.3f}")


def _gaps(summary: dict[str, Any], device: bool) -> str:
    table = pd.DataFrame(summary["gaps"]).drop(columns=[] if device else ["cpu"])
    for column in ("after", "before"):
        table[column] = table[column].map(_tail)
    return _show(table, start_ms="{:.3f}", length_ms="{:.3f}")


def _tail(name: str, length: int = 40) -> str:
    """Shorten a kernel's name; of a long one the end stays, as it distinguishes kernels best."""
    plain = short(name)
    return plain if len(plain) <= length else "..." + plain[3 - length :]


def _show(table: pd.DataFrame, **formats: str) -> str:
    """Format a table in full, with its text to the left and headings without underscores."""
    text = table.copy()
    for column, layout in formats.items():
        if column in text:
            text[column] = text[column].map(layout.format)
    words = [c for c in text.columns if c not in formats and not pd.api.types.is_numeric_dtype(table[c])]
    for column in words:
        text[column] = text[column].astype(str).str.ljust(text[column].astype(str).str.len().max())
    text.columns = [
        c.replace("_", " ").replace("share of", "% of").ljust(text[c].str.len().max() if c in words else 0) for c in text.columns
    ]
    return "\n".join(line.rstrip() for line in text.to_string(index=False).splitlines())
