"""`python -m tests.crash.interrupts --times 10`: how long runs that train take to end after SIGINT and SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent.parent
LONG = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "100000", "--checkpoint-every", "20", "--expid", "x"]
TWO_JOBS = ["--seed-list", "1", "2", "--pruner-list", "rand", "--jobs", "2"]
LAST_WORD = "main.py: interrupted; the same command goes on from the last checkpoint"


class Ended(NamedTuple):
    """How an interrupted command ended: exit status, seconds since the signal, what it said."""

    status: int
    seconds: float
    said: str


def interrupt(words: list[str], number: signal.Signals, root: Path) -> Ended:
    """Start `main.py`, wait for its first checkpoint below `root`, and send it the signal."""
    command = [sys.executable, str(PROJECT / "main.py"), *LONG, *words, "--result-dir", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not list(root.rglob("checkpoint.bin")) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        began = time.monotonic()
        os.kill(process.pid, number)
        _out, said = process.communicate(timeout=60)
        return Ended(process.returncode, time.monotonic() - began, said)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    """Returns 0 if every one ended with its exit status and last word within two seconds."""
    parser = argparse.ArgumentParser("python -m tests.crash.interrupts", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times, right = parser.parse_args().times, True
    for name, words in (("one run", []), ("two jobs", TWO_JOBS)):
        for number in (signal.SIGINT, signal.SIGTERM):
            with tempfile.TemporaryDirectory() as folder:
                ended = [interrupt(words, number, Path(folder, str(i))) for i in range(times)]
            seconds = [one.seconds for one in ended]
            right &= max(seconds) <= 2 and all(one.status == 128 + number and LAST_WORD in one.said for one in ended)
            print(f"{name}, {number.name}: exit {sorted({one.status for one in ended})}, "
                  f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s", flush=True)  # fmt: skip
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
