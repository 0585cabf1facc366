"""The place of a run's folder, and its name if the command gives none."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from Utils.options.resolve import identity, with_rounds, without_late
from Utils.options.types import Options


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
