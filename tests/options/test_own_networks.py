"""Networks from a user's file in saved runs: run only where the command names them, and only the file that the run had."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import shutil
import sys
from pathlib import Path

import pytest
from trained import trained

SOURCE = """
from pathlib import Path
from torch import nn
Path("ran.txt").write_text("yes")
def net(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, classes))
def other(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, classes))
"""
DATA = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1"]
RUN = Path("Results/data/singleshot/x")
READERS = [["evaluate"], ["time"], ["compact"], ["saliency"], ["regrow", "--regrow-to", "0.3", "--regrow-finetune-epochs", "0", "--expid", "r"],
           ["regrow-layers", "--regrow-to", "0.3", "--regrow-finetune-epochs", "0"],
           ["regrow-bench", "--regrow-to", "0.3", "--regrow-repeats", "1", "--regrow-dense", str(RUN / "initial.pt")]]  # fmt: skip


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    words = [*DATA, "--model", "mine.py:net", "--pruner", "rand", "--density", "0.5", "--expid", "x"]
    folder = trained(tmp_path_factory, words, files={"mine.py": SOURCE})
    (folder / "ran.txt").unlink()
    return folder


@pytest.fixture
def run(command, once, tmp_path):
    """A saved run of `mine.py:net`, after which nothing has run that file."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return RUN


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_reader_runs_no_file_that_the_command_does_not_name(command, refused, run, quick, words):
    words = ["--experiment", *words, "--run", run]
    refused(words, "has a network from a file, which is run only where it is named: give --model mine.py:net")
    assert not Path("ran.txt").exists()
    Path("mine.py").write_text(SOURCE.replace("nn.ReLU", "nn.Tanh"))
    line = refused([*words, "--model", "mine.py:net"], "--model mine.py:net is not the network of", "SHA-256")
    assert json.loads((run / "args.json").read_text())["contents"]["mine.py"][:12] in line and not Path("ran.txt").exists()
    refused(words, f"give --model {run}/network.py:net")  # the copy is the run's own file still
    refused([*words, "--model", f"{run}/network.py:other"], "give --model FILE.py:net")
    refused([*words, "--model", "none.py:net"], "there is no file none.py")
    assert command(*words, "--model", f"{run}/network.py:net").status == 0 and Path("ran.txt").exists()


def test_the_source_lies_in_the_run_and_is_checked(command, refused, run):
    assert (run / "network.py").read_text() == SOURCE
    (run / "network.py").write_text(SOURCE + "# mine")
    refused(["--experiment", "evaluate", "--run", run, "--model", f"{run}/network.py:net"], "SHA-256")
    refused([*DATA, "--model", "mine.py:net", "--pruner", "rand", "--density", "0.5", "--expid", "x"], "network.py is missing or damaged")


def test_foreign_folders_run_nothing(command, refused, run, quick, no_pictures):
    """Whatever a foreign `args.json` names, in a folder without checksums too."""
    shutil.copytree(run, "foreign")
    Path("evil.py").write_text("from pathlib import Path\nPath('ran.txt').write_text('evil')\n")
    args = json.loads(Path("foreign/args.json").read_text())
    for contents in ({"evil.py": "0" * 64}, {}, None, "x", ["evil.py"]):
        args |= {"model": "evil.py:net", "contents": contents}
        args.pop("checksum", None)
        Path("foreign/args.json").write_text(json.dumps(args))
        Path("foreign/summary.json").unlink(missing_ok=True)
        for words in READERS[:5]:
            done = command("--experiment", *words, "--run", "foreign")
            assert done.status == 2 and not Path("ran.txt").exists(), done
            done = command("--experiment", *words, "--run", "foreign", "--model", "evil.py:net")
            assert done.status == 2 and not Path("ran.txt").exists(), done
    for words in (["histogram"], ["status"], ["report", "--expid", "r"]):
        command("--experiment", *words, "--run", "foreign")
        assert not Path("ran.txt").exists()


def test_a_network_by_name_needs_no_name(command, refused):
    assert command(*DATA, "--expid", "x").status == 0
    refused(["--experiment", "evaluate", "--run", RUN, "--model", "conv"], "--model conv is not what", "its network is fc")
    assert command("--experiment", "evaluate", "--run", RUN, "--model", "fc").status == 0


def test_bytecode_and_neighbours_of_a_copy_are_not_run(command, run):
    """Python would take the bytecode that lies beside a source; the folder of a run is no place to import from."""
    (run / "__pycache__").mkdir()
    cached = importlib.util.cache_from_source(str(run / "network.py"))
    Path("evil.py").write_text(SOURCE.replace("ran.txt", "evil.txt"))
    py_compile.compile("evil.py", cfile=cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    done = command("--experiment", "evaluate", "--run", run, "--model", f"{run}/network.py:net")
    assert done.status == 0 and Path("ran.txt").exists() and not Path("evil.txt").exists(), done
    Path("helper.py").write_text("")
    Path("mine.py").write_text("import helper\n" + SOURCE)
    assert command(*DATA, "--model", "mine.py:net", "--pruner", "rand", "--density", "0.5", "--expid", "y").status == 0
    other = run.with_name("y")
    (other / "helper.py").write_text("open('evil.txt', 'w')")
    sys.modules.pop("helper", None)
    done = command("--experiment", "evaluate", "--run", other, "--model", f"{other}/network.py:net")
    assert done.status == 2 and "No module named 'helper'" in done.err and not Path("evil.txt").exists(), done
    assert command("--experiment", "evaluate", "--run", other, "--model", "mine.py:net").status == 0
