"""An image folder is known by what it holds, so that a changed one is neither `Already done` nor in the cache of dense networks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from trees import make_tree

from Utils.data import folder_hashes

WORDS = ["--dataset", "folder:pics", "--model", "fc", "--pruner", "rand", "--prune-epochs", "1", "--pre-epochs", "1", "--post-epochs", "1",
         "--lr", "0.01"]  # fmt: skip
RUN = Path("Results/data/singleshot/a")


@pytest.fixture
def pictures(tmp_path):
    return make_tree(tmp_path / "pics")


def swap(root):
    """Exchange the two classes, in the training part alone."""
    ant, bee, other = root / "train/ant", root / "train/bee", root / "train/other"
    for old, new in ((ant, other), (bee, ant), (other, bee)):
        old.rename(new)


def dense_networks():
    return len(list(Path("Results/data/dense-networks").glob("*.bin")))


def test_the_checksum_is_that_of_names_and_bytes(pictures):
    files = sorted((str(path.relative_to(pictures)), path) for path in pictures.rglob("*.png"))
    wanted = hashlib.sha256(b"".join(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest() for name, path in files))
    folder_hashes.forget()
    assert len(files) == 10 and folder_hashes.digest_of(f"folder:{pictures}") == wanted.hexdigest()
    (pictures / "notes.txt").write_text("no image")
    folder_hashes.forget()
    assert folder_hashes.digest_of(f"folder:{pictures}") == wanted.hexdigest()
    assert folder_hashes.digest_of("mnist") is None and folder_hashes.digest_of(f"folder:{pictures}/none") is None


def test_a_changed_folder_is_not_already_done(command, pictures):
    words = [*WORDS, "--expid", "a"]
    assert command(*words).status == 0 and dense_networks() == 1
    assert "Already done" in command(*words).out
    held = json.loads((RUN / "args.json").read_text())["contents"]["folder:pics"]
    swap(pictures)
    done = command(*words)
    assert done.status == 2 and f"SHA-256 of folder:pics {held[:12]}... there" in done.err and "another --expid or --overwrite" in done.err
    assert "does not hold what it held" in command("--experiment", "evaluate", "--run", RUN).out
    assert command(*words[:-1], "b").status == 0 and dense_networks() == 2  # not that of the other images
    swap(pictures)
    assert "Already done" in command(*words).out
    again = command("--experiment", "evaluate", "--run", RUN)
    assert again.status == 0 and "NOTE" not in again.out


def test_a_copied_or_touched_folder_is_the_same(command, pictures, monkeypatch):
    words = [*WORDS, "--expid", "a"]
    assert command(*words).status == 0
    shutil.copytree(pictures, "copy")
    shutil.rmtree(pictures)
    Path("copy").rename(pictures)
    assert "Already done" in command(*words).out
    for path in pictures.rglob("*"):
        os.utime(path, (1, 1))
    assert "Already done" in command(*words).out and command(*words[:-1], "b").status == 0 and dense_networks() == 1


def test_files_are_read_again_only_if_they_look_otherwise(command, pictures, monkeypatch):
    monkeypatch.setattr(folder_hashes, "SETTLED", 0)
    reads, whole = [], folder_hashes._sum_of
    monkeypatch.setattr(folder_hashes, "_sum_of", lambda path: (reads.append(path), whole(path))[1])
    assert command(*WORDS, "--expid", "a").status == 0 and len(reads) == 10
    assert "Already done" in command(*WORDS, "--expid", "a").out and len(reads) == 10
    os.utime(pictures / "train/ant/0.png", (1, 1))
    assert "Already done" in command(*WORDS, "--expid", "a").out and len(reads) == 20
    kept = next(Path("Results/data/image-folders").glob("*.json"))
    kept.write_text(kept.read_text().replace('"digest": "', '"digest": "0'))  # a spoilt file is not believed
    assert "Already done" in command(*WORDS, "--expid", "a").out and len(reads) == 30
    assert command(*WORDS, "--no-save").status == 0 and len(reads) == 30  # where nothing is saved nothing is compared


def test_runs_of_before_and_folders_that_are_gone_are_accepted_with_a_note(command, pictures):
    words = [*WORDS, "--expid", "a"]
    assert command(*words).status == 0
    args = RUN / "args.json"
    saved = json.loads(args.read_text())
    del saved["contents"], saved["checksum"]
    saved["versions"], saved["commit"] = {}, "none"
    whole = args.read_text()
    args.write_text(json.dumps(saved))
    summary = json.loads((RUN / "summary.json").read_text())
    summary["files"]["args.json"] = hashlib.sha256(args.read_bytes()).hexdigest()
    del summary["checksum"]
    (RUN / "summary.json").write_text(json.dumps(summary))
    done = command(*words)
    assert done.status == 0 and "cannot be told" in done.out and "Already done" in done.out, done
    args.write_text(whole)
    shutil.rmtree(pictures)
    done = command(*words)
    assert "cannot be told" in done.out and done.status == 2 and "damaged" in done.err  # by the summary that was made up above


def test_a_grid_goes_on_with_the_same_images_alone(command, pictures):
    words = [*WORDS, "--expid", "g", "--seed-list", "1"]
    assert command(*words).status == 0
    assert command(*words, "2").status == 0
    swap(pictures)
    done = command(*words, "2", "3")
    assert done.status == 2 and "SHA-256 of folder:pics" in done.err, done
