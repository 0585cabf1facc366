"""The main part of an assignment's report: the check list, then the tasks in the assignment's words and order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from Utils.options.report_choices import Choices
from Utils.report.assignment.additions import Sources
from Utils.report.assignment.all_layers import all_layers
from Utils.report.assignment.amp import amp
from Utils.report.assignment.block import block
from Utils.report.assignment.checks import CheckMaker
from Utils.report.assignment.discussion import Discussion
from Utils.report.assignment.explain import explain
from Utils.report.assignment.hardware import hardware
from Utils.report.assignment.subjects import subjects_of
from Utils.report.assignment.traced import traced_of
from Utils.report.assignment.tracing import tracing
from Utils.report.assignment.tuning import tuning
from Utils.report.assignment.words import several
from Utils.report.blocks import AuthorText, Block, CheckList, Document, Figure, Note, Section, Table
from Utils.report.collect import Collection
from Utils.report.groups import Group

TITLES = {
    "tuning": "Hyper-parameter tuning",
    "trace": "Tracing a single inference step",
    "block": "The compression ratio",
    "layers": "Compression ratio of each layer",
    "amp": "Quantization with AMP",
    "explain": "Explain your results and submit a short report",
}
CHECKS = "Deliverables"


def assignment_report(
    collection: Collection, tables: Sequence[Group], choices: Choices, discussion: Discussion, sources: Sources
) -> Document:
    """Make the main part of the report, with a place for the author's text after each task."""
    subjects = subjects_of(tables)
    traced, notes = traced_of(collection, subjects.main.group.runs if subjects.main else ())
    machine = hardware([traced.run] if traced and traced.measured else subjects.runs)
    makers: dict[str, Callable[[], list[Block]]] = {
        "tuning": lambda: tuning(subjects),
        "trace": lambda: tracing(traced, notes, machine),
        "block": lambda: block(subjects, choices),
        "layers": lambda: all_layers(subjects, choices),
        "amp": lambda: amp(subjects),
        "explain": lambda: explain(subjects) + ([machine] if "trace" not in choices.tasks else []),
    }
    checks = CheckMaker(subjects, traced, choices, discussion, sources)
    sections, found = [], []
    for number, task in enumerate(choices.tasks, 1):
        place = AuthorText(f"Task {number}", discussion.paragraphs(number))
        sections.append(Section(f"Task {number}: {TITLES[task]}", [*makers[task](), place]))
        found += checks.of(task, number)
    lost = discussion.check(len(choices.tasks))
    head = Section(CHECKS, [CheckList(found), *map(Note, lost)])
    title = str(collection.settings.get("title") or f"Assignment: {several(subject.name for subject in subjects.all)}")
    return Document(title, _subtitle(collection), collection, numbered([head, *sections]))


def tasks_of(document: Document) -> list[str]:
    """Return the titles of the tasks that have a place for the author's text."""
    with_place = [section for section in document.sections if any(isinstance(block, AuthorText) for block in section.blocks)]
    return [section.title.partition(": ")[2] for section in with_place]


def numbered(sections: list[Section]) -> list[Section]:
    """Number the tables and the figures of a document, each from 1."""
    counts = {Table: itertools.count(1), Figure: itertools.count(1)}
    for section in sections:
        for index, part in enumerate(section.blocks):
            if type(part) in counts:
                section.blocks[index] = replace(part, number=f"{type(part).__name__} {next(counts[type(part)])}")
    return sections


def _subtitle(collection: Collection) -> str:
    seeds = sorted({int(run["seed"] or 0) for run in collection.done})
    scale = collection.settings.get("scale")
    words = [f"{len(collection.done)} finished runs"]
    words.append(f"seeds {several(seeds)}" if len(seeds) > 1 else f"one seed ({several(seeds)}) for every number")
    words += [f"all epochs scaled by {scale:g}: a shortened version"] if scale not in (None, 1) else []
    return ", ".join(words)
