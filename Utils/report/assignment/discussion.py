"""The author's own text, in `discussion.md` beside the report: made once with a heading per task, and only read from then on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from Utils.base.errors import Refused, RunFailed
from Utils.base.inputs import read_input
from Utils.report.plain_markdown import COMMENT, Paragraph, paragraphs_of

FILE = "discussion.md"
LARGEST = 1 << 20  # bytes
TASK = re.compile(r" {0,3}#{1,6}\s*Task\s+(\d+)\b.*", re.IGNORECASE)
FIRST = """<!-- Your own text for the report. The program made this file once and never changes it.
Write below the heading of a task; paragraphs, lists, **bold**, *italic* and `code` are set into the report.
Then make the report again, by the same command. -->
"""


class Discussion:
    """The author's text.

    Attributes:
        notes: a line for each part of the file that no task gets.
    """

    def __init__(self, text: str = "", notes: Sequence[str] = ()) -> None:
        self.notes = list(notes)
        self._texts: dict[int, list[str]] = {}
        place: int | None = None
        for line in COMMENT.sub("", text.replace("\r\n", "\n")).split("\n"):
            if heading := TASK.fullmatch(line.rstrip()):
                place = int(heading[1])
                self._texts.setdefault(place, [])
            elif place is not None:
                self._texts[place].append(line)
            elif line.strip() and not re.fullmatch(r"#\s.*", line):
                self._texts.setdefault(0, []).append(line)

    @property
    def written(self) -> dict[int, list[Paragraph]]:
        """The text of each heading that has one; 0 is what stands above them."""
        return {number: found for number in sorted(self._texts) if (found := self.paragraphs(number))}

    def paragraphs(self, task: int) -> list[Paragraph]:
        """Return the text below the heading of a task; none if there is no text yet."""
        return paragraphs_of("\n".join(self._texts.get(task, ())))

    def check(self, tasks: int) -> list[str]:
        """Return the notes, with a line for each text that stands under no heading of the tasks 1 to `tasks`."""
        lost = [number for number in self._texts if not 1 <= number <= tasks and self.paragraphs(number)]
        words = [f"below the heading Task {number}, which the assignment does not have" if number
                 else "above the first heading of a task" for number in sorted(lost)]  # fmt: skip
        return [*self.notes, *(f"{FILE}: the text {word}, is left out" for word in words)]


def read_discussion(folder: Path) -> Discussion:
    """Read the author's text in the folder of a report; a file that cannot be read gives a note."""
    file = folder / FILE
    if not os.path.lexists(file):
        return Discussion()
    try:
        return Discussion(read_input(file, LARGEST).decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Discussion(notes=[f"{file} is no UTF-8 text: it is left out"])
    except Refused as error:
        return Discussion(notes=[f"{error}: it is left out"])


def begin_discussion(folder: Path, tasks: Sequence[str]) -> None:
    """Write the file with a heading for each of `tasks`, unless there is an entry of that name already, whatever it is.

    It is the author's file from then on: it is in no manifest, so that no command replaces or removes it.

    Raises:
        RunFailed: it cannot be written.
    """
    text = FIRST + "".join(f"\n## Task {number}: {task}\n\n" for number, task in enumerate(tasks, 1))
    with contextlib.suppress(FileExistsError):
        try:
            with open(folder / FILE, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise
        except OSError as error:
            raise RunFailed(f"cannot write {folder / FILE}: {error.strerror or error}") from error
