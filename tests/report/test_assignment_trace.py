"""Task 2 of an assignment's report: a trace of a card and one of a CPU, made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reports import collection
from test_assignment_report import resnet
from traces import convolution, kernel, op, step, write

from Utils.report.assignment.hardware import hardware
from Utils.report.assignment.traced import Traced, traced_of
from Utils.report.assignment.tracing import tracing
from Utils.report.blocks import Figure, Sentences, Table, Warnings
from Utils.trace.measure import measure

CARD = {"cpu": "Some CPU", "cores": 8, "memory_bytes": 64 << 30, "gpu": "Some GPU", "gpu_memory_bytes": 24 << 30, "driver": "570.1", "cuda": "12.8",
        "cudnn": 90100}  # fmt: skip
# 60 us of convolutions, of which 10 us twice; 20 us of ReLU beside them; the step has 320 us.
EVENTS = (
    step(5, 100, 300),
    convolution(105, 30), kernel(1, 112, 120, 30, name="void conv_a<3>(int)"), kernel(2, 116, 130, 30, stream=20, name="conv_b"),
    convolution(150, 30), kernel(4, 160, 200, 20, name="void conv_a<5>(int)"),
    op("aten::relu", 190, 9), kernel(5, 191, 220, 20, stream=20, name="relu_kernel"),
    op("aten::sum", 380, 9), kernel(6, 381, 400, 20, name="sum_kernel"),
)  # fmt: skip


@pytest.fixture
def blocks(tmp_path):
    """A function that makes the blocks of the task for a trace of these events."""

    def make(events, **changes):
        run = resnet("snip", 1.0, machine=CARD, versions={"torch": "2.9"}, **changes)
        measured = measure(write(tmp_path / "trace.json", events))
        return tracing(Traced(run, measured.summary, measured), [], hardware([run]))

    return make


def rows(found, name):
    (table,) = [block for block in found if isinstance(block, Table) and block.name == name]
    return table.text.to_dict("records")


def test_a_trace_of_a_card(blocks):
    found = blocks(EVENTS)
    (row,) = rows(found, "task-2-convolutions")
    assert row == {"Layers (calls)": "2", "Kernels": "3", "Convolution (ms)": "0.060", "Step (ms)": "0.320", "Share of the step": "18.8%",
                   "Busy (ms)": "0.100", "Share of busy": "60.0%"}  # fmt: skip
    kernels = [(row["Kernel"], row["Class of work"], row["Calls"], row["ms"]) for row in rows(found, "task-2-kernels")]
    assert kernels[0] == ("conv_a", "convolution", "2", "0.050") and kernels[1] == ("conv_b", "convolution", "1", "0.030") and len(kernels) == 4
    classes = {row["Class of work"]: row["Share of the step"] for row in rows(found, "task-2-classes")}
    assert classes == {"convolution": "18.8%", "elementwise": "6.2%", "other": "6.2%", "nothing ran": "68.8%"}
    (card,) = rows(found, "task-2-hardware")
    assert card == {"GPU": "Some GPU", "GPU memory": "24 GiB", "Driver": "570.1", "CUDA": "12.8", "cuDNN": "90100", "CPU": "Some CPU, 8 cores", "Memory": "64 GiB",
                    "PyTorch": "2.9"}  # fmt: skip
    (figure,) = [block for block in found if isinstance(block, Figure)]
    assert "0.320 ms, convolutions 0.060 ms, 18.8% of it" in figure.caption and "ResNet20 on CIFAR-10, pruned by SNIP at compression 1" in figure.caption
    lines = " ".join(line for block in found if isinstance(block, Sentences) for line in block.lines)
    for words in ("the CPU, which launches the kernels, limits the step", "The longest gaps, in which the device did nothing: 0.160 ms (relu_kernel to sum_kernel",
                  "keeps 10\u00a0% of its weights"):  # fmt: skip
        assert words in lines
    assert not any(isinstance(block, Warnings) for block in found)


def test_a_trace_of_a_cpu_says_so(blocks):
    found = blocks((step(5, 100, 300)[:1], convolution(100, 120), op("aten::relu", 230, 60)))
    (row,) = rows(found, "task-2-convolutions")
    assert row["Convolution (ms)"] == "0.120" and "Kernels" not in row
    (warning,) = [block for block in found if isinstance(block, Warnings)]
    assert "no CUDA stream" in warning.lines[0] and rows(found, "task-2-operators")[0]["ms"]


def test_the_trace_as_asked_comes_first_and_one_of_a_card_before_one_of_a_cpu(tmp_path):
    def traced(method, compression, **changes):
        run = resnet(method, compression, **changes)
        folder = tmp_path / f"{method}{compression}{len(changes)}"
        folder.mkdir()
        path = write(folder / "trace.json", EVENTS if changes else EVENTS[:1] + EVENTS[1:2])
        run.summary["files"] = {"trace.json": ""}
        (folder / "summary.json").write_text(json.dumps({"files": {}}))
        assert path.exists()
        return replace(run, folder=folder)

    runs = [traced("snip", 0.5, machine=CARD), traced("snip", 1.0), traced("snip", 1.0, machine=CARD), traced("mag", 1.0, machine=CARD)]
    best, notes = traced_of(collection(*runs), runs)
    assert best.run is runs[2] and best.on_device and best.as_asked and not notes
    best, _ = traced_of(collection(*runs[:2]), runs)
    assert best.run is runs[1] and not best.on_device
    assert traced_of(collection(resnet("snip", 1.0)), [])[0] is None
    (runs[1].folder / "trace.json").write_text("no trace")
    best, notes = traced_of(collection(runs[1]), [])
    assert best is None and runs[1].folder.name in notes[0]
