"""Flip bytes of, and cut off, every kind of file that runs write; what readers then say must be right, or name the file.

`python -m tests.crash.corruption --places 200` does it at 200 random places of each file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.readers import BREAKS, MADE, PLACES, Observation, Reader, readers_of

UNREAD = ("log.txt", ".lock")  # words for people


@dataclass
class Findings:
    """How many files were spoilt, and what came of it; `problems` are wrong numbers, tracebacks, and files that were not named."""

    files: int = 0
    spoilt: int = 0
    harmless: int = 0
    reported: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.spoilt} files spoilt, of {self.files} kinds: {self.reported} reported by name, {self.harmless} harmless"
        return text + (f", {len(self.problems)} PROBLEMS:\n" + "\n".join(self.problems) if self.problems else ", no problem")


def prepare() -> None:
    """Make runs with every kind of file in the current folder: a grid, levels, one broken off, later measurements."""
    import main
    from Utils.runs.folder import RunFolder

    write = RunFolder.write_checkpoint

    def write_and_stop(self: RunFolder, *words: object, **named: object) -> None:
        write(self, *words, **named)
        raise KeyboardInterrupt

    for words in (*MADE, BREAKS):
        expected = 130 if words == BREAKS else 0
        RunFolder.write_checkpoint = write_and_stop if expected else write
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = main.main(words)
        RunFolder.write_checkpoint = write
        if status != expected:
            raise RuntimeError(f"exit status {status} of {' '.join(words)}")


def kinds() -> Iterator[tuple[Path, str]]:
    """The files to spoil and what they are: of two runs of one kind the first one's, a figure of each kind."""
    seen = set()
    for folder in PLACES:
        for path in sorted(p for p in folder.iterdir() if p.is_file() and p.name not in UNREAD):
            own = path.name in ("args.json", "summary.json") or folder.name == "dense-networks"
            if (name := f"{folder.name}/{path.name}" if own else path.name) not in seen:
                seen.add(name)
                yield path, name


def spoil(places: int, seed: int = 1, only: Callable[[str], bool] = lambda name: True, quiet: bool = True) -> Findings:
    """Spoil each kind of file at `places` places of each way, and look at it with every reader.

    Args:
        places: flips and cuts of each file.
        seed: of the places.
        only: which kinds, by name.
        quiet: whether nothing is printed on the way.
    """
    findings, draw = Findings(), random.Random(seed)
    truths: dict[Path, dict[str, Observation]] = {}
    for path, name in kinds():
        if not only(name):
            continue
        findings.files += 1
        if path.parent not in truths:
            truths[path.parent] = _truth(path.parent)
        whole, stamp, before = path.read_bytes(), path.stat(), len(findings.problems)
        for content, how in _spoilt(whole, places, draw):
            path.write_bytes(content)
            _judge(path, how, truths[path.parent], findings)
        path.write_bytes(whole)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        if not quiet:
            print(f"{path}: {len(whole)} bytes, {len(findings.problems) - before} problems", flush=True)
    return findings


def _truth(place: Path) -> dict[str, Observation]:
    truth = {name: _observed(read, place) for name, read in readers_of(place).items()}
    if wrong := [name for name, seen in truth.items() if seen.refusal or seen.error]:
        raise RuntimeError(f"{place}: whole files are refused: {[truth[name] for name in wrong]}")
    return truth


def _spoilt(whole: bytes, places: int, draw: random.Random) -> Iterator[tuple[bytes, str]]:
    """The content with a byte flipped, then cut off, at random places; every place of a short one."""
    for place in draw.sample(range(len(whole)), min(places, len(whole))):
        flipped = whole[place] ^ draw.randrange(1, 256)
        yield whole[:place] + bytes([flipped]) + whole[place + 1 :], f"byte {place} {whole[place]} made {flipped}"
    for place in draw.sample(range(len(whole)), min(places, len(whole))):
        yield whole[:place], f"cut off at {place} of {len(whole)}"


def _judge(path: Path, how: str, truth: dict[str, Observation], findings: Findings) -> None:
    """See what every reader makes of it: right, or refused with the file's name."""
    findings.spoilt += 1
    named = False
    for name, read in readers_of(path.parent).items():
        seen = _observed(read, path.parent)
        said = f"{seen.refusal} {seen.printed}"
        if seen.error:
            findings.problems.append(f"{path}, {how}: {name} broke off: {seen.error}")
        elif path.name in said:
            named = True
        elif seen.refusal or seen.facts != truth[name].facts:
            findings.problems.append(f"{path}, {how}: {name} said {seen.refusal or 'other numbers'} without the file's name")
    findings.reported += named
    findings.harmless += not named


def _observed(read: Reader, place: Path) -> Observation:
    """What a reader says; an error that is not a refusal is kept with its traceback."""
    from Utils.base.errors import Refused, RunFailed

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            facts, refusal = read(place)
        return Observation(f"{facts!r} {printed.getvalue()}", refusal.strip(), printed.getvalue())
    except (Refused, RunFailed) as error:
        return Observation("", str(error), printed.getvalue())
    except Exception:
        return Observation("", "", printed.getvalue(), traceback.format_exc())


def main() -> int:
    """Returns 0 if nothing was wrong."""
    parser = argparse.ArgumentParser("python -m tests.crash.corruption", description=__doc__)
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the places")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        prepare()
        findings = spoil(options.places, options.seed, quiet=False)
    print(findings, f"({time.monotonic() - began:.0f} s)")
    return 1 if findings.problems else 0


if __name__ == "__main__":
    sys.exit(main())
