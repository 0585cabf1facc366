"""Report: turn any set of saved runs and grids into one finished document, with figures and tables."""

from __future__ import annotations

import torch

from Utils.base.files import writable
from Utils.base.text import print_lines
from Utils.options.report_choices import Choices
from Utils.options.types import Options
from Utils.report.document import begin_text, check_lines, compose, files_of, save
from Utils.report.made_from import NAME as RECORD
from Utils.report.made_from import Noted, Parts, lines_if_unchanged, parts_of
from Utils.runs.folder import RunFolder
from Utils.runs.summary import study_summary

EXPERIMENT = {
    "summary": "turn saved runs and grids into one document (HTML, Markdown, LaTeX, PDF), figures and tables: --run FOLDER ...",
    "reads": ("run", "histogram", "report", "verbose", "save"),
    "writes": ("report.md", "report.html", "report.tex", "report.pdf", "made_from.json"),
    "kind": "saved runs",
}


def run(options: Options) -> None:
    """Write `report.html`, `.md`, `.tex` and `.pdf`, `figures/` and `tables/` about the runs in each `--run FOLDER`.

    `--layout assignment` adds the same files of the appendix, and once `discussion.md`, which is the author's.

    A report is made anew, since its runs may have continued, unless all that it was made from is unchanged. It replaces only a
    report of the same folders and choices.

    Raises:
        Refused: there is no finished run in any of the folders; no file was written.
    """
    choices = Choices(options.layer_compression, options.layer, options.bins, options.log_counts, options.layout,
                      layer_methods=options.layer_method)  # fmt: skip
    with RunFolder(options, made_anew=True) as folder:
        parts = parts_of(options.run, choices, folder.path)
        lines = lines_if_unchanged(folder.path, parts, run=True) if folder.saves and not options.overwrite else None
        if lines is None:
            _make(options, folder, choices, parts)
        else:
            print_lines(lines)
        if folder.saves:
            print(f"Report: {folder.path / 'report.html'}")


def _make(options: Options, folder: RunFolder, choices: Choices, parts: Parts) -> None:
    document = compose(options.run, choices, folder.path)
    found = document.collection
    before = [*found.notes, *(writable(f"Left out: {path}: {reason}") for path, reason in found.left_out)]
    print_lines(before)
    folder.begin(torch.device("cpu"), [*files_of(document), RECORD])
    write = Noted(folder.write_file)
    no_pdf = save(document, write)
    after = [f"Missing: {item.what}: {item.command}" for item in document.missing]
    after += [*check_lines(document), *(no_pdf if folder.saves else [])]
    if folder.saves:
        begin_text(document, folder.path)
    folder.write_json(RECORD, write.record(parts, [*before, *after]))
    contents = {"sections": [section.title for section in document.sections], "runs": len(found.done)}
    folder.finish(study_summary(folder, contents))
    print_lines(after)
