"""The PDF of a report: Chromium prints its HTML, if there is one on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60  # to print a report, after which there is no PDF
QUIET = (
    "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-extensions", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-proxy-server", "--no-pdf-header-footer",
)  # fmt: skip
DATE = re.compile(rb"/(?:CreationDate|ModDate) \(D:(\d{14})")


class NotPrinted(Exception):
    """A browser made no PDF."""


def browser() -> str | None:
    """Return the path of a Chromium on this machine, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def save_pdf(stem: str, html: Callable[[], str], write: Callable[[str, Callable[[Path], Any]], Any]) -> str:
    """Write the PDF of the page that `html` gives as `STEM.pdf`.

    Returns a line that says why there is no PDF; empty if there is one.
    """
    instead = f"open {stem}.html in a browser and print it, to get a PDF"
    program = browser()
    if program is None:
        return f"No {stem}.pdf, as there is no Chromium on this machine: {instead}"
    try:
        write(f"{stem}.pdf", lambda file: _print(program, html(), file))
    except NotPrinted as error:
        return f"NOTE: no {stem}.pdf ({error}): {instead}"
    return ""


def _print(program: str, html: str, file: Path) -> None:
    """Print a page into `file`, without a network and in a profile of its own; dates in the PDF become zeros.

    Raises:
        NotPrinted: the browser failed, or took longer than `SECONDS`.
    """
    with tempfile.TemporaryDirectory(prefix="report-", ignore_cleanup_errors=True) as place:
        page, printed = Path(place, "page.html"), Path(place, "page.pdf")
        page.write_text(html, encoding="utf-8")
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # Chromium refuses root otherwise
        command = [program, *QUIET, *root, f"--user-data-dir={place}/profile", f"--print-to-pdf={printed}", page.as_uri()]
        _run(command)
        content = printed.read_bytes() if printed.is_file() else b""
    if not content.startswith(b"%PDF"):
        raise NotPrinted(f"{Path(program).name} made none")
    file.write_bytes(DATE.sub(lambda found: found[0].replace(found[1], b"0" * 14), content))


def _run(command: list[str]) -> None:
    """Run a command, silent and without input; after `SECONDS` end it, with the processes that it started."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)  # fmt: skip
    except OSError as error:
        raise NotPrinted(f"{Path(command[0]).name}: {error.strerror or error}") from error
    name = Path(command[0]).name
    try:
        status = process.wait(SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotPrinted(f"{name} took longer than {SECONDS} s") from error
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status:
        raise NotPrinted(f"{name} ended with status {status}")
