"""`python -m tests.crash --kills 50`: kill a small grid that often, and compare what it comes to with one left in peace."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash.kills import kill_grid


def main() -> int:
    """Returns 0 if every number was right."""
    parser = argparse.ArgumentParser("python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_grid(Path(folder), options.kills, options.seed)
    print(tally)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
