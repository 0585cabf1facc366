"""Kernels and the operators that they belong to: by launch, by external id, by name."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from test_trace import classes, conv, us
from traces import convolution, kernel, op, step, write, x

from Utils.trace.measure import measure
from Utils.trace.printing import findings


@pytest.fixture
def measured(tmp_path):
    """A function that measures a trace of the given events."""
    return lambda *events, number=None: measure(write(tmp_path / "trace.json", events), number)


def test_external_ids_where_no_launch_is_recorded_and_not_where_they_are_correlations(measured):
    nest = [{**event, "args": {"External id": 50 + i}} for i, event in enumerate(convolution(10, 40))]
    other = op("aten::add", 60, 9, **{"External id": 60})
    without = [kernel(1, None, 30, 12, **{"External id": 53}), kernel(2, None, 70, 5, **{"External id": 60})]
    found = measured(step(0, 0, 100), nest, other, without)
    assert classes(found) == {"convolution": us(0.012), "elementwise": us(0.005)} and len(found.layers) == 1
    assert found.summary["attribution"]["by_external_id"] == 2
    lower = [kernel(1, None, 30, 12, **{"external id": 53}), kernel(2, None, 70, 5, **{"external id": 60})]
    assert classes(measured(step(0, 0, 100), nest, other, lower)) == classes(found)
    elsewhere = [kernel(1, 25, 30, 12, tid=5, **{"External id": 53}), kernel(2, 61, 70, 5, tid=5, **{"External id": 60})]
    assert classes(measured(step(0, 0, 100), nest, other, elsewhere)) == classes(found)  # calls on threads without operators
    correlations = [kernel(53, 65, 70, 5, **{"External id": 53}), kernel(60, 90, 92, 3, **{"External id": 60})]
    assert classes(measured(step(0, 0, 100), nest, other, correlations)) == {"elementwise": us(0.005), "other": us(0.003)}


def test_the_external_id_holds_where_the_clock_of_the_calls_is_off(measured):
    """The convolution's launch is said to be at 21, a microsecond after its end, inside the batch_norm."""
    calls = [op("aten::conv2d", 10, 10, **{"External id": 71}), op("aten::batch_norm", 20, 10, **{"External id": 72})]
    links = {"External id": 71}

    def late(correlation, *others):
        events = kernel(correlation, 21, 40, 30, **links)
        events[0]["args"] |= links
        return measured(step(0, 0, 100), calls, events, *others)

    found = late(5)
    assert classes(found) == {"convolution": us(0.03)} and conv(found) == (us(0.03), 1, 1)
    assert found.summary["events"]["contradicting_links"] == found.summary["attribution"]["by_external_id"] == 1
    assert "NOTE: 1 launches lie in another operator than the external id names; the id was followed" in findings(found.summary)
    twice = op("aten::relu", 95, 2, tid=9, **links)  # of another process, whose numbers begin anew
    assert classes(late(5, twice)) == {"BatchNorm": us(0.03)} == classes(late(71))  # or an old trace, where ids are correlations
    assert late(5, twice).summary["events"]["contradicting_links"] == 0


@pytest.mark.parametrize("seed", range(30))
def test_launches_and_external_ids_agree_on_random_nests(measured, seed):
    """Nests of operators on two threads with launches in random places: each kernel belongs to the innermost operator, by
    hand, and the same without launches, without ids, and with launches that are off by some microseconds."""
    rng = random.Random(seed)
    names = ["aten::conv2d", "aten::batch_norm", "aten::add", "aten::copy_", "mine::op", "aten::sum"]
    operators, launches = [], []

    def fill(start, end, tid, depth, owner):
        at = start
        while at + 12 < end:
            at += rng.randint(1, 6)
            if owner and rng.random() < 0.5:
                launches.append((at, tid, owner))
                at += 3
            elif depth < 4 and end - at > 12:
                length, number = rng.randint(8, max(8, (end - at) // 2)), 1000 + len(operators)
                operators.append((rng.choice(names), at, length, tid, number))
                fill(at + 1, at + length - 1, tid, depth + 1, number)
                at += length

    fill(0, 300, 1, 0, None)
    fill(0, 300, 2, 0, None)
    calls = [op(name, start, length, tid, **{"External id": number}) for name, start, length, tid, number in operators]

    def by_operator(shift=0, launched=True, ids=True):
        events = []
        for i, (at, tid, owner) in enumerate(launches):
            link = {"External id": owner} if ids else {}
            moved = at + shift * rng.choice((-1, 1)) if launched else None
            events.append(kernel(i + 1, moved, 400 + 10 * i, 1 + i % 7, tid=tid, **link))
        found = measured(calls, events)
        return {row["operator"]: 1000 * row["self_device_ms"] for row in found.summary["operators"] if row["self_device_ms"]}, found

    named, wanted = {number: name for name, *_, number in operators}, Counter()
    for i, (*_, owner) in enumerate(launches):
        wanted[named[owner]] += 1 + i % 7
    assert len(launches) > 5
    for case in ({}, {"launched": False}, {"ids": False}, {"shift": 5}):
        device, found = by_operator(**case)
        assert device == pytest.approx(wanted), case
        assert (found.summary["events"]["contradicting_links"] > 0) <= ("shift" in case)


def test_graphs_and_lost_launches_are_told_by_name_and_said_to_be(measured):
    graph = [x("cuda_runtime", "cudaGraphLaunch", 20, 9, correlation=7), op("aten::add", 18, 20)]
    names = ["sm80_xmma_fprop_implicit_gemm", "void cudnn::bn_fw_inf_1C11_kernel_NCHW<float>", "ampere_sgemm_128x64_tn"]
    works = [kernel(7, None, 50 + 10 * i, 10, name=name) for i, name in enumerate(names)]
    found = measured(step(0, 0, 100), graph, works, kernel(8, None, 90, 4, name="dgrad_kernel"))
    assert classes(found) == {"convolution": us(0.01), "convolution backward": us(0.004), "matmul, linear": us(0.01), "BatchNorm": us(0.01)}
    assert found.summary["attribution"]["by_name"] == 4 and found.summary["convolution"]["forward"]["kernels_by_name"] == 1
    assert found.layers.empty
    lost = measured(step(0, 0, 100), op("aten::add", 5, 9), kernel(1, 6, 20, 9), x("cuda_runtime", "cudaLaunchKernel", 11, 2, correlation=2))
    assert lost.summary["attribution"]["launches_without_kernel"] == 1
