"""The place of a run's folder, and its name if the command gives none."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from Utils.base.text import shown
from Utils.options.resolve import identity, with_rounds, without_late
from Utils.options.table import defaults
from Utils.options.types import Options

PROJECT = Path(__file__).resolve().parents[2]


def run_name(options: Options) -> str:
    """Name the folder of a run without `--expid`: its main options for people, and a hash of all of them."""
    options = with_rounds(options)
    chosen = without_late(identity(options, images=False))
    digest = hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=4).hexdigest()
    given = options.record()
    pruners = "-".join(given.get("pruner_list", ())) or given.get("pruner")
    about = Path(options.trace).stem if options.trace else Path(options.run[0]).resolve().name if given.get("run") else None
    compression = f"c{options.compression:.4g}" if "compression" in given else None
    seed = f"s{options.seed}" if "seed" in given else None
    words = [about, pruners, given.get("model"), given.get("dataset"), compression, seed, digest]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", str(word))[-60:] for word in words if word is not None)


def path_of(options: Options) -> Path:
    """Return the path of a run's folder: RESULT_DIR/EXPERIMENT/EXPID, for a cell RESULT_DIR/EXPERIMENT/GRID/CELL.

    `place` replaces the experiment if a run is a cell of another one, such as an assignment.
    """
    return Path(options.result_dir, options.place or options.experiment, options.expid or run_name(options))


def say_elsewhere(options: Options) -> None:
    """Print where results go, if the program is run from another folder than its own.

    It is not said of the cells of a grid, nor of a `--result-dir` that was chosen.
    """
    chosen = options.result_dir != defaults(options.experiment)["result_dir"]
    if not (chosen or "/" in options.expid or Path.cwd() == PROJECT):
        print(f"Results go to {shown(Path.cwd() / options.result_dir)}")
