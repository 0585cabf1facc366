"""Random command lines (`tests/command_lines.py`): each runs, fails with a reason, or is refused in one line and writes nothing.

`EXAMPLES=400 pytest tests/options/test_command_lines.py` tries more of them, and others each time.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path

import pytest
from bad_input_files import files, make_files
from command_lines import command_lines
from hypothesis import HealthCheck, Phase, given, note, settings

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
FEW, MANY = 12, 200  # the same ones each time in the test suite; others each time with `-m long`
ENDED: Counter[str] = Counter()
PART = """
[[part]]
name = "a"
dataset = "synthetic:1x8x8:3:60"
post-epochs = 1
compression-list = [0.5]
pruner-list = ["rand"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines") / "in"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_files(folder)
        (folder / "tiny.toml").write_text(PART)
        yield folder
    print(f"\n{dict(ENDED)}")


def run(words):
    """(exit status, standard output, standard error) of a command line in this process."""
    import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            status = main.main(words)
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), err.getvalue()


def clean(place, before):
    """Take away what a command left, so that the next one finds the folder as it was."""
    for path in sorted(files(place.parent)):
        if path not in before and os.path.lexists(path):
            shutil.rmtree(path) if Path(path).is_dir() else os.unlink(path)


def examples(number, same):
    """The settings of a test with that many examples, the same ones each time or not."""
    return settings(
        max_examples=number, derandomize=same, database=None, deadline=None, print_blob=False,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def check(place, words):
    before = files(place.parent)
    status, out, err = run(words)
    note(f"{status}\n{out[-800:]}\n{err[-800:]}")
    ENDED[f"{words[0][13:]} {status}"] += 1
    assert status in (0, 1, 2)
    assert "Traceback" not in out + err or "--verbose" in words
    if status:
        last = err.splitlines()[-1]
        assert last.startswith("main.py: error: ") and "error: unexpected" not in last and last.isprintable()
    if status == 2:
        assert err.count("\n") == 1 or "--verbose" in words
        assert {k for k in before if Path(k).is_file()} == {k for k in files(place.parent) if Path(k).is_file()}
        assert files(place.parent).keys() == before.keys()
    clean(place, before)


@examples(EXAMPLES or FEW, same=not EXAMPLES)
@given(words=command_lines())
def test_every_line_ends_well(place, words):
    check(place, words)


@pytest.mark.long
@examples(MANY, same=False)
@given(words=command_lines())
def test_many_lines_end_well(place, words):
    check(place, words)
