"""The benchmark "compiled against uncompiled" does the same work on both sides, and its text says what was measured."""

from __future__ import annotations

import statistics

import pytest
import torch

from benchmarks import compiled, report
from Utils.compute import compilation


def test_a_measurement(monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    monkeypatch.setattr(compiled, "COUNT", 1)
    threads = torch.get_num_threads()
    entry = compiled.measure(1, {"step": "a step"}, name="vgg11-bn", size=2)["step"]
    torch.set_num_threads(threads)
    assert entry["difference"] <= compiled.TOLERANCE and entry["compilation"] > 0
    for side, seconds in entry["seconds"].items():
        assert len(seconds) == 2 and entry["medians"][side] == pytest.approx(1000 * statistics.median(seconds))


def test_the_rows_go_beside_the_others(tmp_path):
    before = report.load()
    before.pop("compiled", None)
    report.write(before, tmp_path)
    old = (tmp_path / "results.md").read_text()
    row = {"title": "a step", "unit": "ms", "medians": {"plain": 30.0, "compiled": 20.0}, "compilation": 61.7}
    report.put({"machine": "a machine", "repeats": 6, "rows": {"step": row}}, "compiled", tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert text.startswith(old) and text.splitlines()[-1] == "| a step | 20 ms | 30 ms | 1.50 | 62 s |"
    assert "Medians of 6 turns; a machine." in text
