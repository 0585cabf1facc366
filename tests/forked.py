"""Processes that have imported the program when they begin, which takes seconds: a server does so once, and forks for each of them.

`python forked.py` is the server. It reads one JSON object a line: what to run, where, and the files for its outputs and its end.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import select
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# The last one is what torch imports when it is asked for deterministic algorithms, in more than a second.
IMPORTED = ("main", "Experiments.singleshot", "Experiments.multishot", "Utils.grid.run", "torchvision", "torch._inductor")


class Forked:
    """A script that runs as `python SCRIPT WORDS...` in a session of its own, to be used as a `subprocess.Popen` of text.

    Args:
        script: what is run.
        words: its command line.
        environment: its variables, this process's if none are given.
        log: a file that both outputs are appended to, instead of being kept for `communicate`.
    """

    def __init__(self, script: Path, words: Sequence[object], environment: dict[str, str] | None = None, log: Path | None = None) -> None:
        self.args, self.returncode = [str(script), *map(str, words)], None
        self._folder = Path(tempfile.mkdtemp(prefix="forked-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        environment = dict(os.environ if environment is None else environment)
        request = {"argv": self.args, "cwd": os.getcwd(), "environment": environment, "folder": str(self._folder)}
        request["outputs"] = [str(file) for file in ((log, log) if log else (self._folder / "out", self._folder / "err"))]
        server = _server(environment.get("OMP_NUM_THREADS"))
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def poll(self) -> int | None:
        """The exit status, or minus the signal, once it has ended."""
        with suppress(FileNotFoundError):
            self.returncode = int((self._folder / "end").read_text())
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on for longer than `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.005)
        return status

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for its end; returns what it wrote to standard output and standard error."""
        self.wait(timeout)
        return self.printed()

    def printed(self) -> tuple[str, str]:
        """What it has written to standard output and standard error until now."""
        out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
        return out, err


@cache
def _server(threads: str | None) -> subprocess.Popen[str]:
    """The server whose torch has that many threads, a number that torch reads as it is imported."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | ({"OMP_NUM_THREADS": threads} if threads else {})
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # which is the server's end, too, where this process is killed
    return server


def _become(request: dict) -> None:
    """Turn this process, fresh from the fork, into the script's."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, path in enumerate((os.devnull, *request["outputs"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY), number)
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


def main() -> None:
    """Serve until standard input is closed."""
    sys.path.insert(1, str(PROJECT))
    for module in IMPORTED:
        import_module(module)

    children: dict[int, Path] = {}
    unread = b""
    while True:
        if select.select([0], [], [], 0.005 if children else None)[0]:
            if not (read := os.read(0, 1 << 20)):
                return
            *lines, unread = (unread + read).split(b"\n")
            for request in map(json.loads, lines):
                for path in request["outputs"]:
                    Path(path).touch()
                pid = os.fork()
                if pid == 0:
                    _become(request)
                children[pid] = Path(request["folder"])
                os.write(1, b"%d\n" % pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                folder = children.pop(pid)
                with suppress(FileNotFoundError):  # nobody waits for it any more
                    (folder / "ending").write_text(str(os.waitstatus_to_exitcode(status)))
                    (folder / "ending").rename(folder / "end")


if __name__ == "__main__":
    main()
