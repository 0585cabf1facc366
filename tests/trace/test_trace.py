"""Steps measured in traces made by hand, whose answers are written here, and in a real one of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule
from traces import AUTOGRAD, convolution, kernel, mark, op, step, write, x
from trees import refused

from Utils.trace.kernel_classes import CLASSES, of_kernel, of_operator
from Utils.trace.measure import measure
from Utils.trace.printing import findings


@pytest.fixture
def measured(tmp_path):
    """A function that measures a trace of the given events."""
    return lambda *events, number=None: measure(write(tmp_path / "trace.json", events), number)


def classes(found):
    return {row["class"]: row["ms"] * 1000 for row in found.summary["classes"] if row["ms"]}


def conv(found, name="forward"):
    row = found.summary["convolution"][name]
    return row["ms"] * 1000, row["calls"], row["kernels"]


def us(milliseconds):
    return pytest.approx(milliseconds * 1000)


def test_streams_that_overlap_gaps_and_a_kernel_that_outlives_the_step(measured):
    """Kernels of two convolutions on two streams: [120, 150), [130, 160), [200, 220) are 60 us; a copy at [160, 170), ReLU at
    [210, 240) of which 20 us are after the convolution; the last kernel ends at 420, 20 us after the annotation."""
    found = measured(
        step(5, 100, 300),
        convolution(105, 30), kernel(1, 112, 120, 30), kernel(2, 116, 130, 30, stream=20),
        op("aten::copy_", 140, 9), kernel(3, 141, 160, 10, name="Memcpy DtoD (Device -> Device)"),
        convolution(150, 30), kernel(4, 160, 200, 20),
        op("aten::relu", 190, 9), kernel(5, 191, 210, 30, stream=20),
        op("aten::sum", 380, 9), kernel(6, 381, 400, 20),
    )  # fmt: skip
    s = found.summary
    assert s["on"] == "device" and s["step"]["name"] == "ProfilerStep#5" and s["step"]["wall_ms"] == 0.32
    assert s["step"]["after_annotation_ms"] == 0.02
    assert s["busy"]["ms"] * 1000 == us(0.11) and s["busy"]["share_of_step"] == pytest.approx(110 / 320)
    assert s["busy"]["idle_ms"] * 1000 == us(0.21)
    assert [(r["row"], r["streams"]) for r in s["busy"]["rows"]] == [("0", 2)]
    assert conv(found) == (us(0.06), 2, 3)
    forward = s["convolution"]["forward"]
    assert (forward["share_of_step"], forward["share_of_busy"]) == (pytest.approx(60 / 320), pytest.approx(60 / 110))
    assert classes(found) == {
        "convolution": us(0.06), "elementwise": us(0.02), "copies, memory": us(0.01), "other": us(0.02)
    }  # fmt: skip
    assert sum(row["share_of_busy"] for row in s["classes"]) == pytest.approx(1)
    rows = found.layers[["layer", "name", "kernels", "start_ms", "time_us"]].to_numpy().tolist()
    assert rows == [[1, "conv 1", 2, us(2e-5), us(0.04)], [2, "conv 2", 1, us(1e-4), us(0.02)]]
    gaps = [(round(g["start_ms"] * 1000), round(g["length_ms"] * 1000), g["before"]) for g in s["gaps"]]
    assert gaps == [(140, 160, "some_kernel"), (70, 30, "some_kernel"), (0, 20, "some_kernel")]
    assert s["gaps"][0]["cpu"] == "aten::sum 6%, no operator 94%" and s["gaps"][2]["after"] == "start of the step"
    assert s["attribution"] == {"kernels": 5, "by_launch": 5, "by_external_id": 0, "by_name": 0, "launches_without_kernel": 0}


def test_only_what_the_step_launched_belongs_to_it(measured):
    """Step 1 is over when its last kernel runs inside step 2, where it is neither busy time nor a gap."""
    events = [
        step(1, 0, 100), convolution(10, 40), kernel(1, 20, 90, 60),
        step(2, 100, 100), convolution(110, 40), kernel(2, 120, 150, 20),
        mark("ProfilerStep#3", 200, 5),  # begun by the last prof.step(), nothing in it
    ]  # fmt: skip
    second, first = measured(*events), measured(*events, number=1)
    assert second.summary["step"]["name"] == "ProfilerStep#2"
    assert second.summary["step"]["chosen"] == "the last of 2 complete steps, of 3 annotated"
    assert conv(second) == (us(0.02), 1, 1) and second.summary["busy"]["ms"] == 0.02
    assert second.summary["busy"]["earlier_steps_ms"] == 0.05 and second.summary["busy"]["idle_ms"] == 0.03
    assert first.summary["step"]["wall_ms"] == 0.15 and conv(first) == (us(0.06), 1, 1)
    refused(lambda: measured(*events, number=7), "no ProfilerStep#7", "1, 2, 3")
    refused(lambda: measured(*events, number=3), "nothing ran in ProfilerStep#3")


def test_kernels_of_other_threads_and_of_the_backward_pass(measured):
    """The backward pass runs on autograd's thread; its convolution is named after the forward one by the sequence number."""
    back = [
        op("autograd::engine::evaluate_function: ConvolutionBackward0", 100, 50, AUTOGRAD, **{"Sequence number": 40}),
        op("ConvolutionBackward0", 101, 40, AUTOGRAD, **{"Sequence number": 40}),
        op("aten::convolution_backward", 102, 38, AUTOGRAD, **{"Input Dims": [[2, 4, 8, 8], [2, 3, 8, 8], [4, 3, 3, 3], []]}),
        kernel(2, 110, 130, 25, tid=AUTOGRAD, name="cudnn_dgrad"), kernel(3, 115, 155, 25, tid=AUTOGRAD, name="cudnn_wgrad"),
        op("aten::add_", 142, 6, AUTOGRAD), kernel(4, 143, 190, 5, tid=AUTOGRAD),
    ]  # fmt: skip
    forward = convolution(10, 40, **{"Sequence number": 40, "Input Dims": [[2, 3, 8, 8], [4, 3, 3, 3], [], [1]]})
    found = measured(step(0, 0, 300), mark("layer1.conv", 8, 44), forward, kernel(1, 20, 60, 30), back)
    assert conv(found) == (us(0.03), 1, 1) and conv(found, "backward") == (us(0.05), 1, 2) and conv(found, "both")[0] == us(0.08)
    assert classes(found) == {"convolution": us(0.03), "convolution backward": us(0.05), "elementwise": us(0.005)}
    rows = found.layers[["layer", "name", "pass", "input", "weight", "kernels"]].to_numpy().tolist()
    assert rows == [[1, "layer1.conv", "forward", "2x3x8x8", "4x3x3x3", 1], [1, "layer1.conv", "backward", "2x3x8x8", "4x3x3x3", 2]]


def test_of_two_steps_with_one_number_the_longest_in_which_something_ran(measured):
    found = measured(mark("ProfilerStep#1", 0, 50), op("aten::add", 10, 9), mark("ProfilerStep#1", 100, 900))
    assert found.summary["step"]["wall_ms"] == 0.05
    both = [mark("ProfilerStep#1", 0, 50), op("aten::add", 10, 9), mark("ProfilerStep#1", 100, 90), op("aten::add", 110, 9)]
    assert measured(*both).summary["step"]["wall_ms"] == measured(*both, number=1).summary["step"]["wall_ms"] == 0.09


def test_broken_events_are_reported(measured):
    found = measured(op("aten::add", 0, 9), op("aten::add", float("nan"), 9), op("aten::add", 0, float("inf")), op("a", 0, -1))
    assert found.summary["events"]["broken"] == 3
    assert "WARNING: 3 broken events were left out" in findings(found.summary)[-1]
    assert not any("WARNING" in line for line in findings(measured(op("aten::add", 0, 9)).summary))


def test_a_cuda_program_without_kernels_is_refused_with_advice(measured):
    call = x("cuda_runtime", "cudaLaunchKernel", 20, 3, correlation=4)
    refused(lambda: measured(op("aten::add", 10, 20), call), "no kernel events, though 1 kernels were launched", "Try ", "2.5.1")
    other = [step(0, 0, 100), op("aten::add", 10, 20), call, step(1, 200, 100), op("aten::add", 210, 20), kernel(9, 220, 230, 9)]
    assert measured(*other).summary["step"]["name"] == "ProfilerStep#1"
    refused(lambda: measured(*other, number=0), "ProfilerStep#0 has no kernel events")


def test_layers_are_named_by_what_encloses_one_convolution_alone(measured):
    def call(start, *around):
        return [*(mark(name, start - 5, 40) for name in around), convolution(start, 30)]

    module = x("python_function", "nn.Module: Conv2d_3", 345, 40)
    found = measured(
        mark("ProfilerStep#1", 0, 900), mark("forward", 1, 800), call(10, "block", "conv1"), call(100), call(200, "conv1"),
        [module, convolution(350, 30)], x("python_function", "torch/nn/functional.py(1): conv2d", 346, 38),
        [mark("two", 500, 100), convolution(510, 20), convolution(550, 20)],
    )  # fmt: skip
    assert list(found.layers["name"]) == ["conv1", "conv 2", "conv1 #2", "Conv2d_3", "conv 5", "conv 6"]


def test_nested_operators_count_once_and_threads_are_united_on_a_cpu(measured):
    """[10, 50) and [30, 70) on two threads are 60 us of convolution; aten::add [60, 90) has 20 us of its own."""
    found = measured(mark("ProfilerStep#2", 0, 100), convolution(10, 40), convolution(30, 40, tid=9), op("aten::add", 60, 30))
    assert found.summary["on"] == "cpu" and conv(found) == (us(0.06), 2, 0)
    assert found.summary["busy"]["ms"] == 0.08 and classes(found) == {"convolution": us(0.06), "elementwise": us(0.02)}
    own = {row["operator"]: row["self_cpu_ms"] * 1000 for row in found.summary["operators"]}
    assert own["aten::conv2d"] == us(0.004) and own["aten::cudnn_convolution"] == us(0.068)
    assert [g["length_ms"] for g in found.summary["gaps"]] == [0.01, 0.01]


def test_whole_microseconds_do_not_nest_neighbours(measured):
    """Rounded up, one operator may reach a microsecond into the next."""
    found = measured(op("aten::batch_norm", 10, 21), convolution(30, 40), op("aten::relu", 69, 21))
    assert classes(found) == {"convolution": us(0.04), "BatchNorm": us(0.02), "elementwise": us(0.02)}
    assert [r["calls"] for r in found.summary["operators"] if r["operator"] == "aten::conv2d"] == [1]


def test_the_whole_trace_where_no_step_is_annotated(measured):
    found = measured(op("aten::add", 50, 9), kernel(1, 40, 45, 9), kernel(2, 51, 70, 30))
    assert found.summary["step"]["name"] == "whole trace" and found.summary["step"]["wall_ms"] == 0.055
    assert found.summary["busy"]["ms"] == pytest.approx(0.039)


def test_the_trace_of_the_profiler_of_old(measured):
    """Before 1.8: no categories, operators and kernels as two processes, kernels named by their operators."""
    cpu, gpu = {"pid": "CPU functions"}, {"pid": "CUDA functions", "tid": 0}
    found = measured(x(None, "aten::conv2d", 0, 10, **cpu), x(None, "aten::relu", 10, 5, **cpu), x(None, "aten::conv2d", 5, 20, **gpu),
                     x(None, "aten::relu", 30, 6, **gpu))  # fmt: skip
    assert classes(found) == {"convolution": us(0.02), "elementwise": us(0.006)}


def test_names_of_operators_and_kernels():
    for names, expected in (
        ("aten::conv2d aten::_convolution aten::conv_transpose2d aten::_slow_conv2d_forward quantized::conv2d_relu.new "
         "aten::miopen_depthwise_convolution mkldnn::_convolution_pointwise", "convolution"),
        ("aten::convolution_backward aten::mkldnn_convolution_backward_weights aten::_convolution_double_backward "
         "aten::thnn_conv2d_backward", "convolution backward"),
        ("aten::cudnn_batch_norm aten::native_batch_norm_backward aten::layer_norm", "BatchNorm"),
        ("aten::addmm aten::linear aten::mm aten::scaled_dot_product_attention", "matmul, linear"),
        ("aten::max_pool2d_with_indices aten::adaptive_avg_pool2d", "pooling"),
        ("aten::log_softmax aten::nll_loss_forward aten::cross_entropy_loss", "softmax, loss"),
        ("aten::copy_ aten::to aten::_to_copy aten::cat aten::fill_ aten::zeros_like aten::contiguous", "copies, memory"),
        ("aten::relu_ aten::mul aten::add aten::clamp_min_ aten::threshold_backward aten::_foreach_addcdiv_", "elementwise"),
        ("aten::sum aten::convert_indices aten::view aten::index_put_", "other"),
    ):  # fmt: skip
        assert {of_operator(name) for name in names.split()} == {expected}
    nodes = ("ConvolutionBackward0", "autograd::engine::evaluate_function: ConvolutionBackward0", "torch::autograd::AccumulateGrad")
    assert {of_operator(name) for name in (*nodes, "MyFunction", "fb::convex_sum", "conv1")} == {None}
    for name, expected in (
        ("cudnn_infer_volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", "convolution"),
        ("void implicit_convolve_sgemm<float, float, 128, 5, 5>(int)", "convolution"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32>", "convolution"),
        ("sm80_xmma_dgrad_implicit_gemm_indexed_f32", "convolution backward"),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n", "matmul, linear"), ("nvjet_sm90_tst_128x64", "matmul, linear"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>", "copies, memory"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "elementwise"),
        ("triton_poi_fused_convolution_relu_0", "elementwise"), ("void convert_to_int<float>", "other"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>", "BatchNorm"), ("reduce_kernel<512>", "other"),
    ):  # fmt: skip
        assert of_kernel(name) == expected, name


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
                                    nn.Flatten(), nn.Linear(288, 5))  # fmt: skip

    def forward(self, images):
        for name, layer in self.layers.named_children():
            with record_function(f"layers.{name}"):
                images = layer(images)
        return images


@pytest.mark.parametrize(("train", "end"), [(False, ".json"), (True, ".json.gz")])
def test_a_real_trace_of_the_cpu(tmp_path, train, end):
    net, images = Net(), torch.zeros(4, 3, 15, 15)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, schedule=schedule(wait=0, warmup=1, active=2, repeat=1)) as run:
        for _ in range(3):
            loss = net(images).sum()
            if train:
                loss.backward()
            run.step()
    run.export_chrome_trace(str(tmp_path / f"trace{end}"))
    found = measure(tmp_path / f"trace{end}")
    s, forward = found.summary, found.summary["convolution"]["forward"]
    assert s["on"] == "cpu" and s["step"]["name"] == "ProfilerStep#2"
    assert 0 < forward["ms"] <= s["busy"]["ms"] <= s["step"]["wall_ms"] and forward["calls"] == 2
    rows = found.layers[["layer", "name", "pass", "input", "weight"]].to_numpy().tolist()
    first, second = [1, "layers.0", "forward", "4x3x15x15", "8x3x3x3"], [2, "layers.3", "forward", "4x8x13x13", "8x8x3x3"]
    assert rows[:2] == [first, second] and len(rows) == (4 if train else 2)
    if train:
        assert rows[2:] == [[*second[:2], "backward", *second[3:]], [*first[:2], "backward", *first[3:]]]
    assert found.layers["time_us"].sum() == pytest.approx(s["convolution"]["both"]["ms"] * 1000)
    assert sum(row["share_of_busy"] for row in s["classes"]) == pytest.approx(1)
    assert [row["class"] for row in s["classes"]] == list(CLASSES) and classes(found)["matmul, linear"] > 0
    assert sum(row["self_cpu_ms"] for row in s["operators"]) == pytest.approx(s["busy"]["ms"], rel=0.01)
