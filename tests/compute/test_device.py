"""The device of a run: which one, what is said where a card cannot be used, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch
from conftest import PROJECT, TINY
from pretend import CARD, card

from Utils.base.errors import Refused
from Utils.compute import device, environment
from Utils.compute.device import choose_device, device_of
from Utils.compute.precision import Precision, computes_bfloat16
from Utils.options.command_line import parse
from Utils.options.failures import failure

OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update it. (Triggered internally at x)"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """What was found out and said before is forgotten, and no card is hidden."""
    monkeypatch.setattr(device, "_unusable", {})
    monkeypatch.setattr(device, "_said", set())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_finding_a_device_does_nothing_on_it():
    with card(count=2) as state:
        assert device_of(parse([*TINY, "--gpu", "1"])) == torch.device("cuda", 1)
        assert device_of(parse([*TINY, "--no-cuda", "--gpu", "7"])).type == "cpu"
        assert not state.initialised
        assert choose_device(parse([*TINY, "--gpu", "1"])) == torch.device("cuda", 1)
        assert state.touched == {1}
        with pytest.raises(Refused, match="--gpu 2: there are 2 CUDA devices, numbered from 0"):
            choose_device(parse([*TINY, "--gpu", "2"]))
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.deterministic


def test_a_driver_that_is_too_old_is_named_once(monkeypatch, capsys):
    def unavailable():
        warnings.warn(OLD, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    assert choose_device(parse(TINY)).type == choose_device(parse(TINY)).type == "cpu"
    said = capsys.readouterr().out
    assert said == (
        "WARNING: CUDA cannot be used (The NVIDIA driver on your system is too old (found version 11040)); the CPU is used\n"
    )


@pytest.mark.parametrize(("version", "words"), [(None, ": this torch is built without CUDA"), ("13.0", "")])
def test_a_card_that_torch_does_not_find_is_named(monkeypatch, capsys, tmp_path, version, words):
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr(device, "DRIVER", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", version)
    assert choose_device(parse(TINY)).type == "cpu"
    assert f"WARNING: the driver lists 1 GPU, and torch {torch.__version__} finds none{words}; the CPU is used" in capsys.readouterr().out
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(device, "_said", set())
    assert choose_device(parse(TINY)).type == "cpu" and not capsys.readouterr().out


def test_a_gpu_that_is_asked_for_where_there_is_none(command, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = command(*TINY, "--gpu", "0", "--no-save")
    assert done.status == 0 and "WARNING: --gpu 0: torch finds no CUDA device on this machine; the CPU is used" in done.out
    assert "WARNING: --gpu" not in command(*TINY, "--no-save").out


def test_a_card_that_cannot_compute_is_named_and_left(monkeypatch, capsys):
    def broken(_device):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    with card():
        monkeypatch.setattr(device, "_open", broken)
        assert choose_device(parse(TINY)).type == device_of(parse(TINY)).type == choose_device(parse(TINY)).type == "cpu"
    out = capsys.readouterr().out
    assert out.count("WARNING") == 1 and "GPU 0 (Pretended) cannot be used (CUDA error: no kernel image is available" in out


def test_a_full_card_is_refused(monkeypatch):
    def full(_device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    with card():
        monkeypatch.setattr(device, "_open", full)
        with pytest.raises(Refused, match=r"GPU 0 \(Pretended\) has no memory free: choose another card with --gpu, or --no-cuda"):
            choose_device(parse(TINY))


def test_memory_that_is_handed_out_is_not_filled():
    choose_device(parse([*TINY, "--deterministic"]))
    assert torch.are_deterministic_algorithms_enabled() and not torch.utils.deterministic.fill_uninitialized_memory
    choose_device(parse(TINY))
    assert not torch.are_deterministic_algorithms_enabled()


def test_cublas_is_told_when_the_program_starts():
    """It reads this once in a process; without it torch refuses deterministic products of matrices on CUDA."""
    told = "import Utils.compute.device, os; print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    left = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, env=left, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ":4096:8"


def test_what_cannot_be_deterministic_is_said_in_the_users_words():
    error = RuntimeError("adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set 'torch.use_...'")
    assert failure(error, parse([*TINY, "--deterministic"])) == (
        "--model fc cannot be computed with --deterministic on this device: torch has no such form of adaptive_avg_pool2d_backward_cuda"
    )


@pytest.mark.parametrize(("amx", "allowed", "able"), [(True, None, True), (True, "AVX2", False), (True, "AVX512_CORE_AMX", True),
                                                      (False, None, False)])  # fmt: skip
def test_a_processor_that_is_slower_in_bfloat16_is_said_to_be(monkeypatch, capsys, amx, allowed, able):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    if allowed:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert computes_bfloat16() is able
    Precision(torch.device("cpu"), torch.bfloat16).announce()
    assert ("NOTE: mixed precision is slower than float32 on this processor" in capsys.readouterr().out) is not able
    Precision(torch.device("cpu")).announce()
    Precision(CARD, torch.bfloat16).announce()
    assert "slower" not in capsys.readouterr().out


def test_the_machine_is_recorded(monkeypatch, tmp_path):
    machine = environment.machine(torch.device("cpu"))
    assert machine["cpu"] and machine["cores"] >= 1 and machine["memory_bytes"] > 1e8 and machine["load"] >= 0 and "gpu" not in machine
    version = tmp_path / "version"
    monkeypatch.setattr(environment, "DRIVER", version)
    for line in ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024",
                 "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (x@y)"):  # fmt: skip
        version.write_text(line + "\nGCC version: gcc version 12.3.0\n")
        environment.driver_version.cache_clear()
        with card():
            on_card = environment.machine(CARD)
        assert (on_card["gpu"], on_card["gpu_memory_bytes"], on_card["driver"]) == ("Pretended", 2**30, "550.54.14")
        assert on_card["cuda"] == torch.version.cuda and "cudnn" in on_card
    environment.driver_version.cache_clear()
