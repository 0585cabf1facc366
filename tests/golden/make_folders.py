"""Make `tests/golden/folders`: run folders that later versions must find finished, report, evaluate and go on with.

`python tests/golden/make_folders.py COPY` runs `COMMANDS` with the `main.py` of another copy of the project, and keeps their folders here.
They were made once, by the commit that `folders/*/args.json` names, before the packages of `Utils/` were arranged anew, and
`half_levels` after that, before all experiments had one way to resume.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "folders"
LEVELS = HERE / "half_levels"
NETWORK = HERE / "network.py"  # a few hundred weights, so that the folders are small
PRUNED = ["--model", "network.py:network", "--dataset", "synthetic:1x4x4:3:60", "--prune-epochs", "2"]
MODEL = [*PRUNED, "--train-batch-size", "10", "--lr", "0.03"]
SHOT = [*MODEL, "--pruner", "synflow", "--compression", "0.5", "--pre-epochs", "1", "--post-epochs", "3", "--checkpoint-every", "1"]
COMMANDS = {
    "singleshot": [*SHOT, "--expid", "shot"],
    "unnamed": [*MODEL, "--pruner", "mag", "--compression", "0.3", "--post-epochs", "1"],
    "multishot": ["--experiment", "multishot", *MODEL, "--pruner", "mag", "--prune-amount", "0.4", "--level-list", "2", "--pre-epochs", "1",
                  "--post-epochs", "1", "--expid", "ladder"],
    "grid": [*MODEL, "--pruner-list", "snip", "rand", "--compression-list", "0.5", "--seed-list", "1", "2", "--pre-epochs", "1",
             "--post-epochs", "1", "--expid", "grid"],
    "regrow": ["--experiment", "regrow", "--run", "Results/data/singleshot/shot", "--model", "network.py:network", "--regrow-to", "0.5",
               "--regrow-finetune-epochs", "1", "--expid", "regrown"],
    "study": ["--experiment", "layer-conservation", *PRUNED, "--pruner-list", "synflow", "mag", "--expid", "study"],
}
HALF = [*SHOT, "--seed", "7", "--expid", "half"]  # killed before the last of its three epochs after pruning
# Killed in its last level; made by the commit after that of the others.
HALF_LEVELS = ["--experiment", "multishot", *MODEL, "--pruner", "mag", "--prune-amount", "0.2", "--level-list", "3", "--pre-epochs", "1",
               "--post-epochs", "2", "--compact", "--checkpoint-every", "1", "--seed", "7", "--expid", "half"]  # fmt: skip


def main() -> None:
    """Run everything in an empty folder, with the copy of the project that the command line names."""
    copy = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(NETWORK, place)
        for program in ("main.py", "tests/killed.py"):
            os.symlink(copy / program, Path(place, Path(program).name))
        for words in COMMANDS.values():
            subprocess.run([sys.executable, "main.py", *words], cwd=place, check=True)
        subprocess.run([sys.executable, "killed.py", "3", *HALF], cwd=place, check=False)
        shutil.rmtree(FOLDERS, ignore_errors=True)
        shutil.copytree(Path(place, "Results", "data"), FOLDERS)
        subprocess.run([sys.executable, "killed.py", "6", *HALF_LEVELS, "--result-dir", "half"], cwd=place, check=False)
        shutil.rmtree(LEVELS, ignore_errors=True)
        shutil.copytree(Path(place, "half"), LEVELS)
    for file in (*FOLDERS.rglob(".lock"), *LEVELS.rglob(".lock")):
        file.unlink()


if __name__ == "__main__":
    main()
