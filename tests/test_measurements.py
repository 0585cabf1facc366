"""Inference time, traces of one step, mixed precision, memory."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from Models.masking import add_masks
from Utils import timing
from Utils.memory import PeakMemory
from Utils.precision import Precision
from Utils.timing import interleaved, quartiles
from Utils.training import make_optimizer, train_epoch

CPU = torch.device("cpu")
NET = ["--dataset", "synthetic:3x8x8:3:60", "--model", "resnet20", "--pruner", "snip", "--compression", "1", "--post-epochs", "1", "--expid", "x"]
FOLDER = Path("Results/data/singleshot/x")


def test_calls_are_timed_in_turn_after_a_warm_up():
    order = []
    calls = {"a": lambda x: order.append("a"), "b": lambda x: order.append("b")}
    laps = interleaved(calls, torch.zeros(1), CPU, 30)
    assert order == ["a", "b"] * (timing.WARM_UP + 30) and all(len(laps[name]) == 30 and min(laps[name]) >= 0 for name in calls)


def test_quartiles():
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}


def test_every_run_has_inference_times_beside_the_dense_network(command):
    assert "Inference, batches of 12" in command(*NET).out
    times = json.loads((FOLDER / "summary.json").read_text())["inference"]
    assert times["repeats"] >= 30 and times["batch_size"] == 12 and times["precision"] == "float32" and "thread" in times["device"]
    for prefix in ("", "dense_"):
        laps = times[f"{prefix}batch_seconds"]
        assert 0 < laps["q1"] <= laps["median"] <= laps["q3"] and times[f"{prefix}total_seconds"] > 0
    before = (FOLDER / "summary.json").read_bytes()
    done = command("--experiment", "time", "--run", FOLDER, "--test-batch-size", "5")
    again = json.loads((FOLDER / "time.json").read_text())
    assert done.status == 0 and again["batch_size"] == 5 and again.keys() == times.keys()
    assert (FOLDER / "summary.json").read_bytes() == before and "Already done" in command(*NET).out


def test_measuring_changes_no_number(command, monkeypatch):
    assert command(*NET, "--expid", "a").status == 0
    monkeypatch.setattr(timing, "inference_times", lambda *_: {})
    assert command(*NET, "--expid", "b").status == 0
    a, b = (torch.load(f"Results/data/singleshot/{name}/model.pt", weights_only=True) for name in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_save_trace_has_exactly_one_step_with_named_layers(command):
    """And the project's own reader finds each convolution once."""
    assert command(*NET, "--save-trace").status == 0
    events = json.loads((FOLDER / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == "aten::conv2d" for event in events) == 21
    assert len({event["name"] for event in events if str(event.get("name")).startswith("ProfilerStep#") and event.get("ph") == "X"}) == 1
    names = {event["name"] for event in events if event.get("cat") == "user_annotation"}
    assert {"blocks.0.conv1 Conv2d", "blocks.0.conv2 Conv2d", "fc Linear"} <= names
    assert any("Input Dims" in event.get("args", {}) for event in events)
    assert "trace.json" in json.loads((FOLDER / "summary.json").read_text())["files"]
    done = command("--experiment", "trace", "--trace", FOLDER / "trace.json", "--expid", "t")
    assert done.status == 0 and "at least one of 21 convolutions ran" in done.out
    layers = pd.read_csv("Results/data/trace/t/trace.csv")
    assert len(layers) == 21 and (Path("Results/data/trace/t") / "timeline.png").stat().st_size > 10000


def test_a_cuda_trace_without_kernels_is_a_clear_failure():
    from Utils.errors import RunFailed
    from Utils.tracing import _check_kernels

    _check_kernels({"traceEvents": [{"cat": "cpu_op"}, {"cat": "kernel"}]})
    with pytest.raises(RunFailed, match="no CUDA kernels; try another version"):
        _check_kernels({"traceEvents": [{"cat": "cpu_op"}, {"name": "x"}]})


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(command):
    seen = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    net[1].register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    prunables = add_masks(net)
    assert len(prunables) == 2
    batch = [(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))]
    for precision, dtype in ((Precision(CPU), torch.float32), (Precision(CPU, torch.bfloat16), torch.bfloat16)):
        loss = train_epoch(net, make_optimizer(net, "adam", 0.01, 0.0), batch, precision=precision)
        assert seen.pop() == dtype and loss.dtype == torch.float64
    assert all(p.dtype == torch.float32 for p in net.parameters())
    done = command(*NET, "--quantization")
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert done.status == 0 and "mixed: bfloat16 and float32" in done.out and summary["precision"] == "mixed: bfloat16 and float32"
    state = torch.load(FOLDER / "model.pt", weights_only=True)
    assert all(t.dtype != torch.bfloat16 for t in state.values())
    tested = command("--experiment", "evaluate", "--run", FOLDER).out.splitlines()
    assert tested[0].partition(": ")[2] == tested[1].partition(": ")[2]


def test_float16_has_one_scaler_whose_state_is_kept():
    precision = Precision(CPU, torch.float16)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    precision.step((weight * 2).sum(), optimizer)
    assert weight.item() == 0 and weight.grad is not None
    before = weight.item()
    optimizer.zero_grad()
    precision.step((weight * float("inf")).sum(), optimizer)  # an overflow leaves the step out and lowers the scale
    assert weight.item() == before
    other = Precision(CPU, torch.float16)
    other.restore(precision.state())
    assert other.state() == precision.state() and Precision(CPU).state() == {}


def test_peak_memory_is_of_the_phase():
    memory = PeakMemory(CPU)
    memory.reset()
    base = memory.read()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    assert block.sum() > 0
    peak = memory.read()
    del block
    assert peak - base > 48 << 20
    memory.reset()
    if memory.of == "resident memory of the process":  # where the system lets it be reset
        assert memory.read() < peak - (32 << 20)


def test_a_run_has_the_peak_of_each_phase(command):
    assert command(*NET, "--pre-epochs", "1").status == 0
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert set(summary["peak_memory_bytes"]) == {"dense", "prune", "train", "evaluate"} and summary["peak_memory_of"]
    assert all(isinstance(v, int) and v > 1 << 20 for v in summary["peak_memory_bytes"].values())


def test_histograms_of_a_block(command):
    assert command(*NET).status == 0
    done = command("--experiment", "histogram", "--run", FOLDER, "--layer", "blocks.0")
    assert done.status == 0 and "blocks.0.conv1" in done.out
    table = pd.read_csv(FOLDER / "histogram.csv")
    kept = pd.read_csv(FOLDER / "compression.csv").query("prunable").set_index("module")["kept"]
    assert table.groupby("module")["count"].sum().to_dict() == kept.to_dict()
    assert {"histogram.png", "histogram.pdf", "histogram-3d.png", "histogram-blocks.0.png"} <= {p.name for p in FOLDER.iterdir()}
    assert "Already done" in command(*NET).out
