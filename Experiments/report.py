"""Report: turn any set of saved runs and grids into one finished document, with figures and tables."""

from __future__ import annotations

import torch

from Utils.base.files import writable
from Utils.base.text import print_lines
from Utils.options.report_choices import Choices
from Utils.options.types import Options
from Utils.report.document import begin_text, check_lines, compose, files_of, save
from Utils.runs.folder import RunFolder
from Utils.runs.summary import study_summary

EXPERIMENT = {
    "summary": "turn saved runs and grids into one document, HTML and Markdown, with figures and tables: --run FOLDER ...",
    "reads": ("run", "histogram", "report", "verbose", "save"),
    "writes": ("report.md", "report.html"),
    "kind": "saved runs",
}


def run(options: Options) -> None:
    """Write `report.md`, `report.html`, `figures/` and `tables/` about the runs in each `--run FOLDER`.

    `--layout assignment` adds `appendix.md` and `appendix.html`, and once `discussion.md`, which is the author's.

    A report is made anew each time, since its runs may have continued. It replaces only a report of the same folders and choices.

    Raises:
        Refused: there is no finished run in any of the folders; no file was written.
    """
    with RunFolder(options, made_anew=True) as folder:
        choices = Choices(options.layer_compression, options.layer, options.bins, options.log_counts, options.layout)
        document = compose(options.run, choices, folder.path)
        print_lines(document.collection.notes)
        for path, reason in document.collection.left_out:
            print(writable(f"Left out: {path}: {reason}"))
        folder.begin(torch.device("cpu"), files_of(document))
        save(document, folder.write_file)
        if folder.saves:
            begin_text(document, folder.path)
        contents = {"sections": [section.title for section in document.sections], "runs": len(document.collection.done)}
        folder.finish(study_summary(folder, contents))
        for item in document.missing:
            print(f"Missing: {item.what}: {item.command}")
        print_lines(check_lines(document))
        if folder.saves:
            print(f"Report: {folder.path / 'report.html'}")
