"""Lines before a command begins, and the last line of one that is interrupted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import PROJECT, TINY

import main
from Utils.base.errors import Refused
from Utils.options.command_line import TRY, first_words, parse
from Utils.runs.places import path_of, say_elsewhere


def test_a_command_without_words_runs_as_ever_and_shows_what_to_try(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    done = []
    monkeypatch.setattr(main, "_dispatch", done.append)
    assert main.main([]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "Nothing is pruned: fc on mnist is trained densely for 10 epochs. Commands to try:"
    assert others == [f"  {line}" for line in TRY] and len(TRY) == 3
    (options,) = done
    assert (options.pruner, options.compression, options.experiment) == ("rand", 0, "singleshot")
    for line in TRY:
        words = shlex.split(line)
        assert words[:2] == ["python", "main.py"]
        assert first_words(words[2:], parse(words[2:])) == []


@pytest.mark.parametrize(("words", "told"), [
    (TINY, True), ([*TINY, "--seed-list", "1"], True), ([*TINY, "--no-save"], False), ([*TINY, "--result-dir", "there"], False),
    ([*TINY, "--lr", "1e30"], True), ([*TINY, "--compression", "12"], False), ([*TINY, "--dry-run"], False),
])  # fmt: skip
def test_a_command_from_another_folder_says_where_results_go(words, told, command):
    """One that writes nothing does not; a grid says it once."""
    done = command(*words)
    assert done.out.count(f"Results go to {Path.cwd() / 'Results/data'}\n") == told == ("Results go to" in done.out)
    assert not any("Results go" in log.read_text() for log in Path.cwd().rglob("log.txt"))


def test_the_program_s_own_folder_needs_no_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    say_elsewhere(parse(TINY))
    assert capsys.readouterr().out == ""
    monkeypatch.chdir(tmp_path)
    say_elsewhere(parse(["--experiment", "assignment", "--preset", "demo"]))
    assert capsys.readouterr().out == f"Results go to {tmp_path / 'Results/data'}\n"


def test_an_interrupted_run_without_files_promises_none(command, monkeypatch):
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_dispatch", stop)
    done = command(*TINY, "--no-save")
    assert done.status == 130 and done.err == "main.py: interrupted; --no-save: nothing was saved\n"


def test_a_place_that_cannot_be_written_has_two_ways_out(command, refused):
    Path("file").touch()
    refused([*TINY, "--result-dir", "file"], "--result-dir", "choose another --result-dir, or --no-save, which writes nothing")
    line = refused([*TINY, "--seed-list", "1", "--result-dir", "file"], "choose another --result-dir")
    assert "--no-save" not in line  # a grid is the folder that it writes
    assert command(*TINY, "--result-dir", "file", "--no-save").status == 0


@pytest.mark.parametrize("name", ["SNIP", "snip", "Snip"])
def test_a_method_in_any_letters_is_the_same_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_of(parse(["--pruner", name])) == path_of(parse(["--pruner", "snip"]))
    one, two = parse(["--pruner-list", name, "SynFlow", "UNIFORM_PLUS"]), parse(["--pruner-list", "snip", "synflow", "uniform-plus"])
    assert one.expid == two.expid and one.record() == two.record()
    with pytest.raises(Refused, match="names snip twice"):
        parse(["--pruner-list", "snip", "SNIP"])


def test_flags_of_other_tools_have_counterparts_that_exist():
    from Pruners import names
    from Utils.options.other_tools import FLAGS, METHODS
    from Utils.options.parser import build_parser

    known = build_parser()._option_string_actions
    named = [word for text in FLAGS.values() for word in text.replace(",", "").split() if word.startswith("--")]
    assert set(named) <= set(known) and not set(FLAGS) & set(known) and set(METHODS.values()) <= set(names())
