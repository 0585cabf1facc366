"""Disks that are small and full, or cannot be written, for those who may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class Disk:
    """A file system of 20 MB on `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, left: int = 0) -> None:
        """Fill it up but for `left` bytes."""
        free = os.statvfs(self.path)
        with open(self.path / "ballast", "ab") as file:
            file.write(b"0" * (free.f_bavail * free.f_bsize - left))

    def read_only(self) -> None:
        """Let nobody write on it from now on."""
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk of its own, or the reason why there is none."""
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield Disk(place)
    subprocess.run(["umount", "-l", place], check=False)
