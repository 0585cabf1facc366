"""Runs that the tests of a module begin with, trained once for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest


def trained(factory: pytest.TempPathFactory, *commands: list[str], files: dict[str, str] | None = None) -> Path:
    """Run `main.py` with each list of words in a new folder, after writing `files` there; returns the folder, of which tests work on copies."""
    import main

    folder = factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, text in (files or {}).items():
            Path(name).write_text(text)
        for words in commands:
            assert main.main(words) == 0, words
    return folder
