"""The whole report: its sections, its list of missing results, and its files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from Utils.base.files import check_writable
from Utils.base.json_files import json_text
from Utils.options.report_choices import ASSIGNMENT, Choices
from Utils.report import render
from Utils.report.assignment.additions import Sources
from Utils.report.assignment.discussion import Discussion, begin_discussion, read_discussion
from Utils.report.assignment.main_part import assignment_report, tasks_of
from Utils.report.blocks import CheckList, Data, Document, Figure, Section, Table
from Utils.report.collect import Collection, collect
from Utils.report.groups import Group, groups
from Utils.report.made_from import NAME as RECORD
from Utils.report.made_from import Noted, lines_if_unchanged, parts_of
from Utils.report.missing import missing
from Utils.report.print_pdf import browser, save_pdf
from Utils.report.sections.ablations import ablations
from Utils.report.sections.accuracy import accuracy
from Utils.report.sections.curves import training_curves
from Utils.report.sections.environment import environment
from Utils.report.sections.flops import flops
from Utils.report.sections.histograms import histograms
from Utils.report.sections.inference import inference
from Utils.report.sections.layers import layers
from Utils.report.sections.levels import levels
from Utils.report.sections.measurements import measurements
from Utils.report.sections.precision import mixed_precision, single_of
from Utils.report.sections.regrowth import regrowth
from Utils.report.sections.settings import settings
from Utils.report.sections.studies import studies
from Utils.report.sections.traces import traces
from Utils.report.sections.tradeoff import tradeoff
from Utils.runs.manifest import OwnFiles
from Utils.runs.run_files import alone_in

Write = Callable[[str, Callable[[Path], Any]], None]


def compose(names: Sequence[str | Path], choices: Choices = Choices(), beside: Path | None = None) -> Document:  # noqa: B008 (frozen)
    """Read the runs in the folders `names` and make the sections of their report.

    The author's text for the layout of an assignment is read in the folder `beside`.

    Raises:
        Refused: there is no finished run in any of them.
    """
    found = collect(names)
    asked = choices.beside(found.settings.get("report") or {})
    tables = groups(found)
    general = _general(found, tables, asked)
    if asked.layout != ASSIGNMENT:
        return general
    discussion = read_discussion(beside) if beside else Discussion()
    main = assignment_report(found, tables, asked, discussion, Sources(names))
    return _with_appendix(main, general)


def _with_appendix(main: Document, appendix: Document) -> Document:
    """Put the general report behind the main part; both share the folders of figures and tables."""
    appendix.title, appendix.stem = f"Appendix: {appendix.title}", "appendix"
    main.appendix = appendix
    _name_apart([*main.sections, *appendix.sections])
    return main


def _general(found: Collection, tables: list[Group], asked: Choices) -> Document:
    """Make the report with all sections."""
    masks = [group for group in tables if not single_of(group, tables)]  # mixed precision leaves masks the same
    makers: list[Callable[[], Section | None]] = [
        lambda: environment(found),
        lambda: settings(tables) if tables else None,
        lambda: accuracy(tables),
        lambda: tradeoff(masks),
        lambda: inference(tables),
        lambda: flops(masks),
        lambda: measurements(tables),
        lambda: training_curves(masks),
        lambda: layers(masks, asked),
        lambda: histograms(masks, asked),
        lambda: traces(found, asked),
        lambda: mixed_precision(tables),
        lambda: levels(tables),
        lambda: ablations(tables),
        lambda: regrowth(found),
        lambda: studies(found),
    ]
    made = [make() for make in tqdm(makers, desc="sections", unit="section", leave=False, disable=None)]
    sections = [section for section in made if section is not None]
    _name_apart(sections)
    title = str(found.settings.get("title") or f"Pruning report: {_subjects(tables)}")
    return Document(title, _subtitle(found), found, sections, missing(found, tables, sections), found.left_out)


def write_report(out: Path, folders: Sequence[str | Path], choices: Choices = Choices()) -> list[str]:  # noqa: B008 (frozen)
    """Write the report of the runs in `folders` into the folder `out`, and return the lines about what it lacks (`check_lines`).

    An earlier report in `out` is replaced, unless all that it was made from is unchanged.

    Raises:
        Refused: there is no finished run in any of them; no file was written.
        RunFailed: it cannot be written.
    """
    parts = parts_of(folders, choices, out)
    if (lines := lines_if_unchanged(out, parts)) is not None:
        return lines
    document = compose(folders, choices, out)
    names = [*files_of(document), RECORD]
    check_writable(out)
    OwnFiles(out).check(names)
    with alone_in(out) as own:
        own.remove()
        own.add(names)
        write = Noted(own.write_file)
        no_pdf = save(document, write)
        lines = [*check_lines(document), *no_pdf]
        own.write_json(RECORD, write.record(parts, lines))
        begin_text(document, out)
    return lines


def begin_text(document: Document, out: Path) -> None:
    """Make the file of the author's text in the folder of a report that has places for it, if there is none."""
    if tasks := tasks_of(document):
        begin_discussion(out, tasks)


def check_lines(document: Document) -> list[str]:
    """Return the lines about an assignment's deliverables: how many there are, and each missing one with what adds it."""
    if not document.checks:
        return []
    missing = [check for check in document.checks if not check.present]
    lines = [f"Missing: {check.what}. {check.how}{f' {check.command}' if check.command else ''}" for check in missing]
    return [f"Deliverables: {CheckList(document.checks).summary}", *lines]


def files_of(document: Document) -> list[str]:
    """Name the files that `save` writes."""
    names: list[str] = []
    _write_all(document, _blocks(document), lambda name, _: names.append(name))
    return names + [f"{part.stem}.pdf" for part in document.documents if browser()]


def save(document: Document, write: Write) -> list[str]:
    """Write `figures/`, `tables/`, and `report.md`, `.html`, `.tex` and `.pdf`, through `write(name, function of a path)`.

    An appendix adds the same files with its name. Returns the lines that say why there is no PDF.
    """
    blocks = tqdm(_blocks(document), desc="figures and tables", unit="file", leave=False, disable=None)
    pages = _write_all(document, blocks, write)
    printed = pages if browser() else dict(list(pages.items())[:1])  # one line says that there is no browser
    return [line for stem, page in printed.items() if (line := save_pdf(stem, page, write))]


def _blocks(document: Document) -> list[Any]:
    return [block for part in document.documents for block in part.blocks]


def _write_all(document: Document, blocks: Iterable[Any], write: Write) -> dict[str, Callable[[], str]]:
    """Write all files except the PDFs; return, by the name of each document, a function that gives its HTML."""
    for block in blocks:
        if isinstance(block, Figure):
            render.save_figure(block, write)
        elif isinstance(block, Table):
            write(f"tables/{block.name}.csv", lambda file, table=block: render.save_table(table, file))
        elif isinstance(block, Data):
            text = json_text(block.content)
            write(f"tables/{block.name}.json", lambda file, text=text: file.write_text(text, encoding="utf-8"))
    pages = {}
    for part in document.documents:
        pages[part.stem] = html = cache(partial(render.html, part))  # drawn once
        texts = {"md": partial(render.markdown, part), "html": html, "tex": partial(render.latex, part)}
        for kind, text in texts.items():
            write(f"{part.stem}.{kind}", lambda file, text=text: file.write_text(text(), encoding="utf-8"))
    return pages


def _name_apart(sections: Sequence[Section]) -> None:
    """Add a number to the name of each block that an earlier block of its kind has already."""
    used: set[tuple[type, str]] = set()
    for section in sections:
        for index, block in enumerate(section.blocks):
            if name := getattr(block, "name", ""):
                numbered = (f"{name}-{number}" for number in itertools.count(2))
                unused = next(n for n in itertools.chain([name], numbered) if (type(block), n) not in used)
                used.add((type(block), unused))
                section.blocks[index] = replace(block, name=unused) if unused != name else block


def _subjects(tables: Sequence[Group]) -> str:
    labels = list(dict.fromkeys(group.label for group in tables))
    return "; ".join(labels[:3]) + ("; and others" if len(labels) > 3 else "") if labels else "regrowth, studies, traces"


def _subtitle(found: Collection) -> str:
    done = len(found.done) + len(found.traces) + len(found.studies) + len(found.regrown)
    scale = found.settings.get("scale")
    words = [f"{done} finished run{'s' * (done != 1)}"]
    words += [f"{len(found.left_out)} folders left out"] if found.left_out else []
    words += [f"all epochs scaled by {scale:g}: a shortened version"] if scale not in (None, 1) else []
    return ", ".join(words)
