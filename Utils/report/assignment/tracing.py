"""Task 2: the trace of one inference step, the time of its convolutions, and the facts about what takes the time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from Utils.base.csv_files import as_named, read_csv
from Utils.base.errors import Refused
from Utils.figures.timeline import timeline_figure
from Utils.report import findings
from Utils.report.assignment.subjects import rounds_said
from Utils.report.assignment.traced import Traced
from Utils.report.assignment.words import share
from Utils.report.blocks import Block, Figure, Heading, Note, Table, Warnings
from Utils.report.captions import sentences
from Utils.report.report_run import Run
from Utils.trace.events import KERNEL
from Utils.trace.gaps import short
from Utils.trace.kernel_classes import OTHER

HEIGHT = 3.9  # inches of the timeline
MOST = 5  # kernels, or operators
GAPS = 3
SMALLEST = 5e-4  # share of the step from which a class of work has a row
LIMIT = 0.5  # the busy share of a step below which the device waits more than it works
NO_STREAM = (
    "The trace has no CUDA stream: the run was made on a CPU, or the profiler recorded no kernel. All times of this task are of "
    "operators on the CPU."
)


def tracing(traced: Traced | None, notes: Sequence[str], hardware: Block) -> list[Block]:
    """Make the blocks of the task; `hardware` is the table of the machine."""
    first = Heading("1. The trace, and the GPU hardware details")
    if traced is None:
        return [first, hardware, Note(" ".join([*notes, "There is no trace."]))]
    try:
        timeline = _timeline(traced)
        facts = _facts(traced)
    except (KeyError, TypeError, ValueError, OSError, Refused) as error:
        return [first, hardware, Note(f"{traced.title}: the trace cannot be used ({error}).")]
    where = "CUDA" if traced.on_device else "CPU"
    return [
        first, hardware, *([Note(" ".join(notes))] if notes else []), timeline,
        *([] if traced.on_device else [Warnings([NO_STREAM])]),
        Heading(f"2. Total {where} time spent on all convolution layers for a single step"), _convolutions(traced),
        Heading("3. Major source of time spent during inference"), *facts,
    ]  # fmt: skip


def _timeline(traced: Traced) -> Figure:
    step, found = traced.summary["step"], traced.summary["convolution"]["forward"]
    caption = (
        f"One inference step of {traced.title}: {step['wall_ms']:.3f} ms, convolutions {found['ms']:.3f} ms, "
        f"{found['share_of_step']:.1%} of it. A row per thread and stream, coloured by class of work; the lower panel shows the "
        f"time of each convolution. {traced.run['device']}.{_rounds(traced.run)}"
    )
    words = f"Timeline of the step of {traced.title}; the tables have the times."
    if traced.measured is None:
        return Figure("task-2-timeline", caption, words, files=traced.run.pictures("timeline"))
    drawing = timeline_figure(traced.measured.step, traced.measured.layers, f"{traced.title}: {step['wall_ms']:.3f} ms")
    drawing.set_figheight(min(drawing.get_figheight(), HEIGHT + 0.42 * len(traced.summary["busy"]["rows"])))
    return Figure("task-2-timeline", caption, words, drawing)


def _rounds(run: Run) -> str:
    return f" {said}." if (said := rounds_said([run])) else ""


def _convolutions(traced: Traced) -> Table:
    found, busy, step = traced.summary["convolution"]["forward"], traced.summary["busy"], traced.summary["step"]
    device = traced.on_device
    row = {
        "Layers (calls)": str(found["calls"]),
        **({"Kernels": str(found["kernels"])} if device else {}),
        "Convolution (ms)": f"{found['ms']:.3f}",
        "Step (ms)": f"{step['wall_ms']:.3f}",
        "Share of the step": f"{found['share_of_step']:.1%}",
        "Busy (ms)": f"{busy['ms']:.3f}",
        "Share of busy": f"{found['share_of_busy']:.1%}",
    }
    what = "one kernel of a convolution" if device else "one convolution"
    on = "on the device" if device else "on the CPU (there is no CUDA stream)"
    caption = (
        f"Time in which at least {what} ran {on}, in the step of {traced.title}: gaps do not count, and streams in parallel "
        f"count once. Busy is the time in which at least one {'kernel, copy or memset' if device else 'operator'} ran."
    )
    return Table("task-2-convolutions", caption, pd.DataFrame([row]), words=0)


def _facts(traced: Traced) -> list[Block]:
    """Return what an answer about the source of the time needs: classes, kernels, gaps, and the limit."""
    summary = traced.summary
    classes = pd.DataFrame(
        {"Class of work": row["class"], "ms": f"{row['ms']:.3f}", "Share of the step": f"{row['share_of_step']:.1%}"}
        for row in sorted(summary["classes"], key=lambda row: -row["ms"]) if row["share_of_step"] >= SMALLEST
    )  # fmt: skip
    idle = summary["busy"]["idle_ms"]
    nothing = {
        "Class of work": "nothing ran",
        "ms": f"{idle:.3f}",
        "Share of the step": f"{idle / summary['step']['wall_ms']:.1%}",
    }
    classes = pd.concat([classes, pd.DataFrame([nothing])], ignore_index=True)
    blocks: list[Block] = [
        Table("task-2-classes", f"Classes of work in the step of {traced.title}; each instant counts once.", classes),
        _kernels(traced),
    ]
    return blocks + sentences([*findings.trace(summary), *limits(summary), *_gaps(summary), *_longest(traced), *_zeros(traced)])


def _kernels(traced: Traced) -> Table:
    """Return the kernels that ran longest; the operators, where there are no kernels or only the summary was saved."""
    wall = traced.summary["step"]["wall_ms"]
    if traced.on_device and traced.measured:
        times, calls, classes = defaultdict(float), Counter(), {}
        for event in (e for e in traced.measured.step.device if e.kind == KERNEL):
            name = short(event.name)
            times[name] += event.length / 1e6
            calls[name] += 1
            classes[name] = event.work or OTHER
        order = sorted(times, key=lambda name: -times[name])[:MOST]
        rows = [{"Kernel": n, "Class of work": classes[n], "Calls": str(calls[n]), "ms": f"{times[n]:.3f}",
                 "Share of the step": f"{times[n] / wall:.1%}"} for n in order]  # fmt: skip
        caption = f"The kernels of the step of {traced.title} that ran longest, {len(order)} of {len(times)}."
        return Table("task-2-kernels", caption, pd.DataFrame(rows), words=2)
    column = "self_device_ms" if traced.on_device else "self_cpu_ms"
    own = traced.summary["operators"][:MOST]
    rows = [{"Operator": row["operator"], "Calls": str(row["calls"]), "ms": f"{row[column]:.3f}",
             "Share of the step": f"{row[column] / wall:.1%}"} for row in own]  # fmt: skip
    on = "on the device" if traced.on_device else "on the CPU"
    count = f"{len(own)} of {len(traced.summary['operators'])}"
    caption = f"The operators of the step of {traced.title} with the longest own time {on}, {count}."
    return Table("task-2-operators", caption, pd.DataFrame(rows))


def _gaps(summary: Mapping[str, Any]) -> list[str]:
    """Name the longest gaps with the work around them and, on a device, with what the CPU did meanwhile."""
    words = []
    for row in summary["gaps"][:GAPS]:
        meanwhile = f", CPU: {row['cpu']}" if summary["on"] == "device" and row["cpu"] else ""
        words.append(f"{row['length_ms']:.3f} ms ({short(row['after'])} to {short(row['before'])}{meanwhile})")
    what = "the device did nothing" if summary["on"] == "device" else "no operator ran"
    return [f"The longest gaps, in which {what}: {'; '.join(words)}."] if words else []


def limits(summary: Mapping[str, Any]) -> list[str]:
    """Say what limits the step: on a device the launches of the CPU or the kernels; on the CPU its operators."""
    busy, kernels = summary["busy"], summary["attribution"]["kernels"]
    part = f"{busy['share_of_step']:.1%} of the step"
    if summary["on"] != "device":
        return [f"Operators run on the CPU for {part}: their work limits it; the table of classes has their shares."]
    mean = f"; a kernel runs {1e3 * busy['ms'] / kernels:.1f} µs on average" if kernels else ""
    if busy["share_of_step"] < LIMIT:
        return [
            f"The device works for {part} and waits for the rest{mean}: the CPU, which launches the kernels, limits the step."
        ]
    return [f"The device works for {part}{mean}: the kernels limit the step, not the CPU that launches them."]


def _longest(traced: Traced) -> list[str]:
    """Name the convolutions that took most of the convolutions' time."""
    try:
        layers = (
            traced.measured.layers
            if traced.measured
            else as_named(read_csv(traced.run.folder / "trace.csv", keep_default_na=False))
        )
    except (ValueError, OSError):
        return []
    own = layers[layers["pass"] == "forward"]
    if len(own) < 2 or not own["time_us"].sum():
        return []
    top = own.sort_values("time_us", ascending=False).head(3)
    words = ", ".join(f"{row['name']} ({row['time_us'] / 1e3:.3f} ms)" for row in top.to_dict("records"))
    part = top["time_us"].sum() / own["time_us"].sum()
    return [f"Of {len(own)} convolutions, these take longest: {words}; together {part:.1%} of the time of all."]


def _zeros(traced: Traced) -> list[str]:
    """Say that removed weights cost as much as kept ones."""
    density = traced.run.summary.get("density") if traced.measured else None
    if density is None or traced.run["compact"]:
        return []
    return [
        f"The network keeps {share(density)} of its weights; its kernels are those of the dense network and multiply zeros too."
    ]
