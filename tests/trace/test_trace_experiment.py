"""The experiment: what it prints and leaves in its folder, and its picture."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from traces import AUTOGRAD, convolution, kernel, mark, op, options, step, write
from trees import refused

from Experiments.trace import run
from Utils.figures.timeline import timeline_figure
from Utils.trace.measure import measure


def gpu_step(layers, backward=False):
    """A step of so many layers, 100 us each, on two streams."""
    events = [step(4, 0, 100 * layers + 50)]
    for i in range(layers):
        at = 10 + 100 * i
        events += [mark(f"layer{i}", at, 60), convolution(at + 2, 40, **{"Input Dims": [[8, 3, 9, 9], [4, 3, 3, 3]]})]
        events += [kernel(2 * i + 1, at + 10, at + 50, 40 + i % 7, stream=7 + 13 * (i % 2)), op("aten::relu", at + 50, 8)]
        events.append(kernel(2 * i + 2, at + 51, at + 100, 9))
    if backward:
        events += [op("aten::convolution_backward", 100 * layers, 40, AUTOGRAD), kernel(9999, 100 * layers + 5, 100 * layers + 60, 30,
                                                                                       tid=AUTOGRAD)]  # fmt: skip
    return events


def test_the_folder_and_the_same_words_the_second_time(tmp_path, capsys):
    path = write(tmp_path / "my trace.json", gpu_step(5, backward=True), deviceProperties=[{"id": 0, "name": "Some GPU"}])
    given = options(path, tmp_path / "out")
    run(given)
    first = capsys.readouterr().out
    run(given)
    again = capsys.readouterr().out
    (folder,) = (tmp_path / "out" / "trace").iterdir()
    pictures = {"timeline.png": b"\x89PNG", "timeline.pdf": b"%PDF", "timeline.svg": b"<?xml"}
    assert {f.name for f in folder.iterdir()} - {".lock", "manifest.json"} == {
        "args.json", "summary.json", "trace.csv", "trace_summary.json", *pictures}  # fmt: skip
    assert all((folder / name).read_bytes().startswith(start) for name, start in pictures.items())
    assert again == f"Already done: {folder}\n{first}"
    for words in ("Step: ProfilerStep#4 (the only complete step)", "device 0 (Some GPU), 2 streams", "Busy: ", "Convolution: 0.2",
                  "Convolution, backward: 0.030 ms", "layer0", "8x3x9x9", "elementwise", "Largest gaps",
                  "Top 6 operators", "Kernels: 11; attributed by their launch 11"):  # fmt: skip
        assert words in first, words
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "done" and all(line in first for line in summary["findings"])
    table = pd.read_csv(folder / "trace.csv")
    assert list(table["name"][:5]) == [f"layer{i}" for i in range(5)] and len(table) == 6
    assert json.loads((folder / "trace_summary.json").read_text())["convolution"] == summary["convolution"]


def test_refusals_write_nothing_and_no_save_saves_nothing(tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text('{"traceEvents": [')
    refused(lambda: run(options(bad, tmp_path / "out")), bad, "cut off")
    refused(lambda: run(options(tmp_path / "none.json", tmp_path / "out")), "none.json", "No such file")
    run(options(write(tmp_path / "good.json", [op("aten::add", 0, 9)]), tmp_path / "out", no_save=True))
    assert "Convolution: none ran in this step" in capsys.readouterr().out and not (tmp_path / "out").exists()


def labels(axes):
    return [text.get_text() for text in axes.texts if text.get_text().isdigit()]


def test_the_picture_numbers_the_layers_that_find_room(tmp_path):
    for count in (20, 150):
        found = measure(write(tmp_path / "t.json", gpu_step(count)))
        figure = timeline_figure(found.step, found.layers, "title")
        figure.savefig(tmp_path / "t.png")
        rows, bars = figure.axes
        assert [t.get_text() for t in rows.get_yticklabels()] == ["CPU", "stream 7", "stream 20"]
        numbers = labels(rows)
        assert numbers == [str(i) for i in range(1, 21)] if count == 20 else 40 < len(numbers) < 150
        assert [round(b.get_height()) for b in bars.patches] == [40 + i % 7 for i in range(count)]
        boxes = [t.get_window_extent() for t in rows.texts if t.get_text().isdigit()]
        assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_a_picture_without_convolutions_and_with_work_of_an_earlier_step(tmp_path):
    events = [step(1, 0, 100), op("aten::add", 5, 9), kernel(1, 6, 50, 90), step(2, 100, 100), op("aten::add", 105, 9),
              kernel(2, 106, 150, 90)]  # fmt: skip
    found = measure(write(tmp_path / "t.json", events))
    figure = timeline_figure(found.step, found.layers, "title")
    assert len(figure.axes) == 1
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["elementwise", "idle", "earlier step"]
    figure.savefig(tmp_path / "t.svg", format="svg")


@pytest.mark.filterwarnings("error")
def test_odd_names_of_files_and_streams_are_drawn_and_printed_as_they_are(tmp_path, capsys):
    """Dollars are no formulas, letters that the font lacks no warning, escape sequences no commands to the terminal."""
    work = [op("aten::add \x1b[2J", 0, 9), kernel(1, 2, 5, 9, stream="$x_{$", device="$卷$"), kernel(2, 4, 5, 9, stream="\x1b[31m$")]
    run(options(write(tmp_path / "a$b_{$ 卷.json", work), tmp_path / "out"))
    printed = capsys.readouterr()
    assert not printed.err and "\x1b" not in printed.out and "a$b_{$ 卷.json" in printed.out and "aten::add \ufffd[2J" in printed.out
    (folder,) = (tmp_path / "out" / "trace").iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "done"


def test_everything_is_saved_before_anything_is_printed(tmp_path, monkeypatch):
    """`| head` may end the program at the first line."""
    def gone(*_):
        raise BrokenPipeError

    monkeypatch.setattr("Experiments.trace.print_report", gone)
    with pytest.raises(BrokenPipeError):
        run(options(write(tmp_path / "t.json", gpu_step(2)), tmp_path / "out"))
    (folder,) = (tmp_path / "out" / "trace").iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "done" and (folder / "timeline.pdf").exists()


def test_the_same_trace_makes_the_same_pictures(tmp_path):
    path = write(tmp_path / "t.json", gpu_step(2))
    folders = [tmp_path / "out" / "trace" / name for name in "ab"]
    for folder in folders:
        run(options(path, tmp_path / "out", expid=folder.name))
    one, two = ({name: (folder / name).read_bytes() for name in ("timeline.png", "timeline.pdf", "timeline.svg")} for folder in folders)
    assert one == two and b"/Type3" not in one["timeline.pdf"]


def test_many_layers_and_streams_are_cut_and_said_to_be(tmp_path, capsys):
    events = gpu_step(700)
    for stream in range(30, 45):
        events.append(kernel(5000 + stream, None, 10 * stream, 1 + stream, stream=stream))
    path = write(tmp_path / "t.json", events)
    run(options(path, tmp_path / "out", expid="x"))
    out = capsys.readouterr().out
    assert "... and 640 more layers, which trace.csv has" in out and "layer59 " in out and "layer60 " not in out
    assert len(pd.read_csv(tmp_path / "out/trace/x/trace.csv")) == 700
    found = measure(path)
    rows, bars = timeline_figure(found.step, found.layers, "title").axes
    assert len(rows.get_yticklabels()) == 12 and "; 6 rows in which less ran are not shown" in rows.get_xlabel()
    assert len(bars.patches) == 234 and bars.get_xlabel() == "layer; the longest of 3 neighbours"
    assert [round(b.get_height()) for b in bars.patches[:4]] == [42, 45, 46, 44]  # 40 + i % 7 of the layers 0 1 2, 3 4 5, ...


def test_a_hundred_thousand_layers_have_three_hundred_bars(tmp_path):
    layers = pd.DataFrame({"layer": range(1, 150_001), "pass": "forward", "time_us": 1.0,
                           "start_ms": np.linspace(0, 0.25, 150_000), "end_ms": np.linspace(0, 0.25, 150_000)})  # fmt: skip
    found = measure(write(tmp_path / "t.json", gpu_step(2)))
    rows, bars = timeline_figure(found.step, layers, "title").axes
    assert len(bars.patches) == 300 and bars.get_xlabel() == "layer; the longest of 500 neighbours"
    assert 1 < len(rows.texts) < 60  # numbers that do not collide
