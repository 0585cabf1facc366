"""Every line of `tests/bad_inputs/`, in one process: exit status, one line on standard error, nothing written if refused."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from bad_input_files import files, make_files
from bad_inputs import TOPICS

LINES = [pytest.param(*line[:2], line[2:], id=f"{topic}-{number}") for topic, lines in TOPICS.items() for number, line in enumerate(lines)]


def test_there_are_enough_lines():
    texts = [line[0] for lines in TOPICS.values() for line in lines]
    assert len(texts) == len(set(texts)) >= 120


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_files(folder)
        yield folder


@pytest.fixture
def run(place, capsys, monkeypatch):
    import main

    monkeypatch.chdir(place)

    def run(line):
        try:
            status = main.main(shlex.split(line))
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(("line", "status", "words"), LINES)
def test_the_line_ends_as_it_should(line, status, words, run, place):
    before = files(place)
    ended, out, err = run(line)
    assert ended == status, (out, err)
    assert "Traceback" not in out + err and "error: unexpected" not in err, (out, err)
    if status:
        assert err.startswith("main.py: error: ") and err.count("\n") == 1 and err[:-1].isprintable(), err
    for word in words:
        assert word in (err if status else out), (out, err)
    if status == 2:
        now = files(place)
        if now.keys() == before.keys():  # a folder that was tried for writing has a new time, and all else has not
            now = {name: now[name] if Path(name).is_file() else before[name] for name in now}
        assert now == before
    assert not (place / "PWNED").exists()
