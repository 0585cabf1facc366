"""Where the folder of a run is, and its name where the command gives none."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path

from Utils.options.resolve import LATE, identity

# Options that came late: where they are off, a run has the name that it had before there were any.
YOUNG = ("deterministic", *LATE)


def run_name(options: argparse.Namespace) -> str:
    """The folder name of a run without `--expid`: its main options for people, and a hash of all of them."""
    chosen = {name: value for name, value in identity(options, images=False).items() if value or name not in YOUNG}
    digest = hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=4).hexdigest()
    given = vars(options)
    pruners = "-".join(given.get("pruner_list", ())) or given.get("pruner")
    about = Path(options.trace).stem if "trace" in given else Path(options.run[0]).resolve().name if given.get("run") else None
    compression = f"c{options.compression:.4g}" if "compression" in given else None
    seed = f"s{options.seed}" if "seed" in given else None
    words = [about, pruners, given.get("model"), given.get("dataset"), compression, seed, digest]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", str(word))[-60:] for word in words if word is not None)


def path_of(options: argparse.Namespace) -> Path:
    """Where a run's folder is, or will be: RESULT_DIR/EXPERIMENT/EXPID, for a cell RESULT_DIR/EXPERIMENT/GRID/CELL.

    `place` stands for the experiment where a run is a cell of another one, as those of an assignment are.
    """
    return Path(options.result_dir, getattr(options, "place", options.experiment), options.expid or run_name(options))
