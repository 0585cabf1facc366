"""What other hands put among the files of runs, grids and reports is there, unchanged, after every command."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from conftest import TINY, without_pictures

from Utils.options.experiments import EXPERIMENTS
from Utils.runs.manifest import FOLDERS, GRID, NAME, RUN, OwnFiles, names_of

RESULTS = Path("Results/data")
SHOT = RESULTS / "singleshot"
RUN_A, GRID_G, REPORT = [*TINY, "--expid", "a", "--tensorboard"], [*TINY, "--seed-list", "1", "2", "--expid", "g"], RESULTS / "report" / "r"
MULTI = ["--experiment", "multishot", *TINY, "--pre-epochs", "1", "--level-list", "1", "2", "--expid", "m"]
STUDY = ["--experiment", "layer-conservation", *TINY[:4], "--expid", "s"]
DRAW = ["--experiment", "report", "--run", SHOT, "--expid", "r"]
ABOUT = [["--experiment", name, "--run", SHOT / "a", *more] for name, *more in
         (("time",), ("histogram", "--layer", "all"), ("saliency", "--saliency-images", "8"), ("evaluate",), ("status",))]  # fmt: skip
FRESH = ["--experiment", "prune", *TINY[:4], "--prune-epochs", "2", "--expid", "p"]
COMMANDS = [*([*words, *more] for words in (RUN_A, GRID_G, MULTI, STUDY, FRESH, DRAW) for more in ([], ["--overwrite"])), *ABOUT]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder in which all of these were run once."""
    import main

    place = tmp_path_factory.mktemp("tree")
    with pytest.MonkeyPatch.context() as moved, without_pictures():
        moved.chdir(place)
        for words in (RUN_A, GRID_G, MULTI, STUDY, *ABOUT, DRAW):
            assert main.main([str(word) for word in words]) == 0, words
    return place


def test_manifests_list_what_is_there_and_every_name_is_declared(tree):
    manifests = sorted((tree / RESULTS).rglob(NAME))
    assert len(manifests) == 12  # a, s and r, the grids g and m, and their cells, the dense ones too
    for manifest in manifests:
        folder, names = manifest.parent, OwnFiles(manifest.parent).names
        files = [file for place in ("", *FOLDERS) for file in (folder / place).glob("*") if file.is_file() and file.name != NAME]
        assert names - {"checkpoint.bin"} == {str(file.relative_to(folder)) for file in files}, folder
        declared = names_of(json.loads((folder / "args.json").read_text()))
        declared |= {name for experiment in EXPERIMENTS.values() if experiment.into_runs for name in experiment.writes}
        drawn = {name for name in names if name.startswith(("figures/", "tables/", "tensorboard/", "histogram-"))}
        assert names <= declared | drawn, folder


def scatter(chance: random.Random, thesis: Path) -> list[Path]:
    """Foreign files, links and folders, all over the results."""
    known = sorted({*RUN, *GRID, *(n for e in EXPERIMENTS.values() for n in e.writes), *(n.format(2) for n in EXPERIMENTS["multishot"].by_level), "histogram-x.png"})
    near = ["compact.txt", "histogram-my-own.csv", "regrow-notes.csv", "masks-level-old.pt", ".model.pt.bak1", ".notes.7", "report.tex",
            "timeline.txt", "events.out.tfevents.mine", "summary.json.bak", ".lock", "manifest.json.old", "figures", "tables", "tensorboard"]  # fmt: skip
    places = [path for path in RESULTS.rglob("*") if path.is_dir()]
    places += [SHOT / "a" / "figures", RESULTS / "prune" / "p", REPORT / "tables", RESULTS / "singleshot" / "g" / "slurm"]
    made = []
    for _ in range(40):
        path = chance.choice(places) / chance.choice(known if chance.random() < 0.3 else near)
        if path.exists() or path.is_symlink() or any(p.is_symlink() or p.is_file() for p in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = chance.choice(["file", "link", "folder link", "dangling", "folder"])
        if kind == "file":
            path.write_text(f"mine {chance.random()}")
        elif kind == "folder":
            path.mkdir()
            (path / chance.choice(known)).write_text("mine")
        else:
            path.symlink_to({"link": thesis / "chapter.txt", "folder link": thesis, "dangling": thesis / "none"}[kind])
        made.append(path)
    return made


def state(path: Path) -> object:
    """All that there is to see of a file, a link or a folder."""
    if path.is_symlink():
        return "link", str(path.readlink())
    if path.is_dir():
        return "folder", {child.name: state(child) for child in path.iterdir()}
    return "file", path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 10))])
def test_what_is_foreign_stays(command, no_pictures, tree, tmp_path, seed):
    chance = random.Random(seed)
    shutil.copytree(tree / "Results", tmp_path / "Results", symlinks=True)
    if seed % 2:  # as runs were before there were manifests
        for manifest in RESULTS.rglob(NAME):
            manifest.unlink()
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("mine")
    for folder in chance.sample([REPORT / "figures", REPORT / "tables", SHOT / "a" / "tensorboard"], 1):
        shutil.rmtree(folder)
        folder.symlink_to(thesis)
    foreign = [thesis, *scatter(chance, thesis)]
    before = {path: state(path) for path in foreign}
    assert len(before) > 15
    for words in chance.sample(COMMANDS, 9 if seed > 1 else 5):
        done = command(*words)
        assert done.status in (0, 1, 2) and "Traceback" not in done.out + done.err, done
        for path, was in before.items():
            assert state(path) == was, (words, path, done)
