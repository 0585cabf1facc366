"""Trace files: what is read of them, and what is refused in one line."""

from __future__ import annotations

import gzip
import json

import pytest
from traces import PID, convolution, kernel, mark, op, step, write, x
from trees import refused

from Utils.base.errors import Refused
from Utils.trace.events import nanoseconds
from Utils.trace.measure import measure
from Utils.trace.printing import findings
from Utils.trace.reading import read

EVENTS = [step(3, 0, 100), convolution(10, 40), kernel(5, 20, 30, 12)]


def seconds(trace):
    return [(e.kind, e.name, e.start, e.end) for e in trace.events]


def test_plain_bare_and_gzipped_files_are_the_same_whatever_their_name(tmp_path):
    plain = seconds(read(write(tmp_path / "a.json", EVENTS)))
    assert ("kernel", "some_kernel", 30_000, 42_000) in plain and len(plain) == 7
    assert seconds(read(write(tmp_path / "b.gz", EVENTS, bare=True))) == plain
    assert seconds(read(write(tmp_path / "c.json", EVENTS, zipped=True))) == plain
    path = write(tmp_path / "d.json", EVENTS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert seconds(read(path)) == plain
    path.write_bytes(path.read_text("utf-8-sig").encode("utf-16"))
    assert seconds(read(path)) == plain


def test_times_are_exact_in_every_spelling(tmp_path):
    assert nanoseconds("1712195495519689.123") == nanoseconds(" 1712195495519689.1234") == 1712195495519689123
    assert [nanoseconds(v) for v in (7, 7.5, "7", "-0.25", "1.5e3", "0.001")] == [7000, 7500, 7000, -250, 1_500_000, 1]
    for value in (None, "", "soon", float("nan"), float("inf"), [1], "1.2.3", "1e999990", "-1e999990"):  # the last: not written out
        with pytest.raises(ValueError):
            nanoseconds(value)
    text = '[{"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 1712195495519689.123, "dur": "2.5"}]'
    (tmp_path / "t").write_text(text)
    assert seconds(read(tmp_path / "t")) == [("kernel", "k", 1712195495519689123, 1712195495519691623)]


def test_events_that_begin_and_end_apart_are_paired_thread_by_thread(tmp_path):
    def half(phase, name, ts, tid=1):
        return {"ph": phase, "cat": "cpu_op", "name": name, "pid": 1, "tid": tid, "ts": ts}

    events = [half("E", "lost", 1), half("B", "outer", 10), half("B", "other", 11, tid=2), half("B", "inner", 12), half("E", "", 15),
              half("E", "", 20), half("E", "", 30, tid=2), half("B", "never ended", 40)]  # fmt: skip
    trace = read(write(tmp_path / "t", events))
    assert sorted(seconds(trace)) == [("operator", "inner", 12_000, 15_000), ("operator", "other", 11_000, 30_000),
                                      ("operator", "outer", 10_000, 20_000)]  # fmt: skip
    assert trace.broken == 2


def test_all_spellings_of_categories(tmp_path):
    names = ["cpu_op", "Operator", "kernel", "Kernel", "gpu_memcpy", "Memcpy", "gpu memcpy", "gpu_memset", "Memset", "cuda_runtime",
             "Runtime", "cuda_driver", "user_annotation"]  # fmt: skip
    kinds = ["operator", "operator", "kernel", "kernel", "memcpy", "memcpy", "memcpy", "memset", "memset", "launch", "launch",
             "launch", "annotation"]  # fmt: skip
    trace = read(write(tmp_path / "t", [x(name, "aten::a", i, 1) for i, name in enumerate(names)]))
    assert [e.kind for e in trace.events] == kinds
    others = ["gpu_user_annotation", "cuda_sync", "overhead", "Trace", "python_function", "cpu_instant_event", "ac2g", "fwdbwd"]
    trace = read(write(tmp_path / "t", [op("a", 0, 1), *(x(name, "a", 0, 1) for name in others), {"ph": "i", "s": "g"}, 3, None]))
    assert len(trace.events) == 1 and trace.other.total() == len(others) + 3
    annotations = ["ProfilerStep#4", "Optimizer.step#SGD.step", "my block"]  # operators by category in PyTorch 1.8
    trace = read(write(tmp_path / "t", [x("Operator", n, 0, 9) for n in [*annotations, "aten::add", "AddBackward0"]]))
    assert [e.kind for e in trace.events] == ["annotation"] * 3 + ["operator"] * 2


def test_broken_events_are_left_out_and_counted(tmp_path):
    broken = [op("a", 0, -5), op("a", "soon", 1), op("a", 5, None), op("a", 5, 1e300), op("a", None, 1), op("a", 0, 10**12),
              op("a", 10**300, 1)]  # fmt: skip
    far = x("kernel", "k", 0, 3, pid=0, tid=7)  # a device that knew no time
    now = 1_700_000_000_000_000
    trace = read(write(tmp_path / "t", [*broken, far, *(op("b", now + i, 1) for i in range(3))]))
    assert [e.name for e in trace.events] == ["b"] * 3 and trace.broken == len(broken) + 1


def test_what_once_broke_the_reader_is_a_broken_event(tmp_path):
    """Powers of ten that would be written out, numbers of 5000 digits; a process that is a list makes no tool of an event."""
    digits = "9" * 5000
    events = [op("a", "1e999990", 1), op("a", 0, "1e999990"), op("a", "1e-999990", 1), mark(f"ProfilerStep#{digits}", 0, 9)]
    text = json.dumps([*events, *({"ph": "X", "name": "x", "pid": pid, "ts": 0, "dur": 1} for pid in ([1], {"a": 1}))])
    (tmp_path / "t").write_text(f'{text[:-1]}, {{"ph": "X", "cat": "cpu_op", "name": "n", "ts": {digits}, "dur": 1}}, '
                                f'{{"ph": "X", "cat": "cpu_op", "name": "n", "ts": 1e999990, "dur": 1}}]')  # fmt: skip
    trace = read(tmp_path / "t")
    assert (len(trace.events), trace.broken, trace.other.total()) == (1, 5, 2)


def test_names_are_shown_in_one_line_without_control_characters_and_in_their_own_letters(tmp_path):
    names = {"plain": "plain", "\x1b[31mred\x1b[0m\n": "\ufffd[31mred\ufffd[0m", "a\nb\r\tc": "a b c", "\u202etxt\x9b1m": "\ufffdtxt\ufffd1m",
             "größe": "größe", "卷积 😀": "卷积 😀", "lone \ud800": "lone \ufffd"}  # fmt: skip
    events = [op(name, i, 1, tid=name) for i, name in enumerate(names)]
    for escaped, encoding in ((True, "utf-8"), (False, "utf-8"), (False, "utf-16")):
        text = json.dumps({"deviceProperties": [{"id": 0, "name": "G\x1b[2J"}], "traceEvents": events}, ensure_ascii=escaped)
        (tmp_path / "t").write_bytes(text.encode(encoding, "replace" if not escaped else "strict"))
        trace = read(tmp_path / "t")
        wanted = [*names.values()] if escaped else [*names.values()][:-1]
        assert [e.name for e in trace.events][: len(wanted)] == wanted == [e.thread[1] for e in trace.events][: len(wanted)]
        assert trace.devices == {"0": "G\ufffd[2J"}
    (tmp_path / "t").write_bytes('[{"ph": "X", "cat": "cpu_op", "name": "größe \\u00e4 \\u5377", "ts": 1, "dur": 1}]'.encode())
    assert read(tmp_path / "t").events[0].name == "größe ä 卷"
    (tmp_path / "t").write_text(json.dumps([x("a\x1bb", "n", 0, 1)]))
    with pytest.raises(Refused, match="1 a\ufffdb"):
        read(tmp_path / "t")


def test_odd_names_arguments_and_constants_do_not_matter(tmp_path):
    text = (
        '{"traceEvents": [{"ph": "X", "cat": "cpu_op", "name": "größe \\u00e4 a\tb", "pid": -3, "tid": "x y", "ts": 1, "dur": 1,'
        '"args": {"Input Dims": "[[1, 2], []]", "z": NaN, "External id": "12"}},'
        '{"ph": "X", "cat": "cpu_op", "name": "aten::conv2d", "ts": 3, "dur": 1, "args": {"Input Dims": [[1], 2, [[3]], "x"]}},'
        '{"ph": "X", "cat": "cpu_op", "name": 7, "ts": 3, "dur": 1, "args": [1]},], "deviceProperties": [{"id": 0, "name": "G"}, 1]}'
    )
    (tmp_path / "t").write_bytes(text.encode())
    trace = read(tmp_path / "t")
    assert [e.name for e in trace.events][1:] == ["aten::conv2d", "7"] and trace.events[0].name.startswith("größe")
    assert trace.events[0].external == 12 and trace.events[1].shapes == ((1,), (), (), ()) and trace.devices == {"0": "G"}


def test_paths_of_windows_that_are_not_escaped_are_read_as_they_are_meant(tmp_path):
    events = r"""{"ph": "X", "cat": "python_function", "name": "C:\Users\net.py(3): \"f\"", "ts": 1, "dur": 1},
                 {"ph": "X", "cat": "cpu_op", "name": "torch\cuda\new.py", "ts": 1, "dur": 1},
                 {"ph": "X", "cat": "cpu_op", "name": "C:\\whole\u00e4 \"q\"", "ts": 1, "dur": 1}"""
    (tmp_path / "t").write_text(f'{{"traceEvents": [{events}]}}')
    trace = read(tmp_path / "t")
    assert [e.name for e in trace.events] == ["torch\\cuda\\new.py", 'C:\\wholeä "q"']
    assert trace.repaired == 2 and trace.other.total() == 1
    assert read(write(tmp_path / "good", EVENTS)).repaired == 0
    lines = findings(measure(tmp_path / "t").summary)
    assert "NOTE: backslashes are not escaped in 2 strings, as in Windows paths: read as such" in lines
    (tmp_path / "t").write_text('[{"ph": "X", "cat": "cpu_op", "name": "C:\\dir\\", "ts": 1, "dur": 2}, {"ts": 1}]')  # a quote is lost
    refused(lambda: read(tmp_path / "t"), "not JSON", "those of a Windows path have to be doubled")
    (tmp_path / "t").write_text(f'{{"traceEvents": [{events}')
    refused(lambda: read(tmp_path / "t"), "cut off after 3 events")


def test_files_that_are_no_traces_are_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.json"
    whole = json.dumps({"traceEvents": [op("aten::add", i, 1) for i in range(50)]}, indent=1).encode()
    for content, words in (
        (b"", ["is empty"]),
        (b" \n ", ["is empty"]),
        (whole[:2000], ["cut off after", "events"]),
        (whole[:-2], ["cut off after 50 events"]),
        (whole.replace(b'"ts"', b"ts", 1), ["not JSON", "character", "after 0 events"]),
        (b"hello", ["not JSON"]),
        (b"\x89PNG\r\n\x1a\n\0\0", ["not JSON"]),
        (b"[" * 100_000, ["not a trace in JSON"]),
        (b"{}", ["no list traceEvents"]),
        (b'{"traceEvents": {"a": 1}}', ["no list traceEvents"]),
        (b"[]", ["no operators and no kernels", "events: none"]),
        (json.dumps([x("overhead", "a", 0, 1)] * 3).encode(), ["no operators and no kernels", "3 overhead"]),
        (gzip.compress(whole)[:-20], ["damaged gzip"]),
        (gzip.compress(whole)[:30] + b"123456789" + gzip.compress(whole)[39:], ["damaged gzip"]),
    ):
        path.write_bytes(content)
        refused(lambda: read(path), path, *words)
    refused(lambda: read(tmp_path / "missing.json"), "missing.json", "No such file")
    refused(lambda: read(tmp_path), "Is a directory")


def test_a_nested_bomb_is_refused(tmp_path):
    path = tmp_path / "t"
    path.write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + ', "traceEvents": []}')
    refused(lambda: read(path), "not a trace in JSON")


def test_the_last_of_ten_long_steps_is_measured(tmp_path):
    """660 operators with a launch and a kernel each in every step: read, attributed and measured."""
    events, correlation = [], 0
    for number in range(10):
        start = 1_000_000 * number
        events.append(mark(f"ProfilerStep#{number}", start, 900_000))
        for i in range(660):
            correlation += 1
            at = start + 100 * i
            events += [op("aten::conv2d" if i % 3 == 0 else "aten::add", at, 60), *kernel(correlation, at + 20, at + 50, 70)]
    path = write(tmp_path / "t", events)
    found = measure(path)
    assert found.summary["step"]["name"] == "ProfilerStep#9"
    assert found.summary["convolution"]["forward"]["ms"] == pytest.approx(220 * 0.07)
    assert {e["pid"] for e in events if "pid" in e} == {PID, 0}
