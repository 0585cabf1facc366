"""Links where files and folders of runs are expected: nothing is removed, replaced or written through them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY

SHOT = Path("Results/data/singleshot")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize("link", ["figures", "tables", "report.md"])
def test_nothing_is_removed_or_written_through_a_link(finished, refused, tmp_path, link):
    finished(*TINY, "--expid", "a")
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("mine")
    folder = Path("Results/data/report/r")
    folder.mkdir(parents=True)
    (folder / link).symlink_to(thesis / "chapter.txt" if link == "report.md" else thesis)
    for words in ([], ["--overwrite"]):
        refused(["--experiment", "report", "--run", SHOT / "a", "--expid", "r", *words], f"{folder / link} is a link")
    assert [file.name for file in thesis.iterdir()] == ["chapter.txt"] and (thesis / "chapter.txt").read_text() == "mine"


def test_a_run_does_not_start_afresh_over_a_link(finished, refused, tmp_path):
    words = [*TINY, "--expid", "a"]
    finished(*words)
    (SHOT / "a" / "model.pt").rename(tmp_path / "precious.pt")
    (SHOT / "a" / "model.pt").symlink_to(tmp_path / "precious.pt")
    refused([*words, "--overwrite"], "model.pt is a link")
    assert (tmp_path / "precious.pt").stat().st_size > 0


@pytest.mark.parametrize("kind", ["run", "grid", "cell", "report"])
def test_a_folder_that_is_a_link_is_not_written_through(finished, command, tmp_path, kind):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("mine")
    (tmp_path / "p.toml").write_text('title = "t"\n[[part]]\nname = "one"\npruner = "rand"\ndense = false\ndataset = "synthetic:1x8x8:3:60"\npost-epochs = 1\n')
    words, at = {
        "run": ([*TINY, "--expid", "a"], SHOT / "a"),
        "grid": ([*TINY, "--expid", "g", "--seed-list", "1", "2"], SHOT / "g"),
        "cell": ([*TINY, "--expid", "g", "--seed-list", "1", "2"], SHOT / "g" / "seed=2"),
        "report": (["--experiment", "report", "--run", SHOT / "done", "--expid", "r"], Path("Results/data/report/r")),
    }[kind]
    finished(*TINY, "--expid", "done")
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(thesis)
    for over in ([], ["--overwrite"]):
        done = command(*words, *over)
        assert done.status == 2 and f"{at} is a link" in done.err, done
    assert [file.name for file in thesis.iterdir()] == ["chapter.txt"]
    at.unlink()
    at.symlink_to(tmp_path / "nowhere")
    assert command(*words).status == 2 and not (tmp_path / "nowhere").exists()
