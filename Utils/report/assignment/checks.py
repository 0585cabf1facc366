"""The check list of an assignment's deliverables: each present or missing, with what adds it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from Utils.options.report_choices import Choices
from Utils.report.assignment.additions import GridFolder, Need, Sources
from Utils.report.assignment.block import COMPRESSION, run_of
from Utils.report.assignment.discussion import FILE, Discussion
from Utils.report.assignment.hardware import has_card
from Utils.report.assignment.subjects import Subject, Subjects
from Utils.report.assignment.traced import COMPRESSION as TRACED_AT
from Utils.report.assignment.traced import METHOD as TRACED_BY
from Utils.report.assignment.traced import Traced
from Utils.report.assignment.tuning import ARCHITECTURES
from Utils.report.assignment.words import METHODS, method_name, network_name, several
from Utils.report.blocks import Check
from Utils.report.report_run import Run
from Utils.report.sections.precision import PAIRS

COMPRESSIONS = (0.2, 0.5, 1.0)
SECOND = {"model_class": "default", "model": "fc", "dataset": "mnist", "post_epochs": 10, "pre_epochs": 0}
NOTHING = "No run has finished."
LIKE_THEM = "The grid's command has no such cells: this makes them as a grid of their own, then the report of both."


@dataclass(frozen=True)
class CheckMaker:
    """The facts from which the check list of a report is made."""

    subjects: Subjects
    traced: Traced | None
    choices: Choices
    discussion: Discussion
    sources: Sources

    def of(self, task: str, number: int) -> list[Check]:
        """Return the deliverables of the task `task`, which has this number in the assignment."""
        makers = {"tuning": self._tuning, "trace": self._trace, "block": self._block, "layers": self._layers,
                  "amp": self._amp, "explain": self._explain}  # fmt: skip
        return [Check(f"Task {number}{check.what}", check.present, check.how, check.command) for check in makers[task](number)]

    @cached_property
    def _grid(self) -> GridFolder | None:
        return self.sources.grid_of(self.subjects.runs)

    @property
    def _compression(self) -> float:
        asked = self.choices.layer_compression
        return COMPRESSION if asked is None else asked

    def _tuning(self, number: int) -> list[Check]:
        main, names = self.subjects.main, several(subject.name for subject in self.subjects.all)
        what = f": testing accuracy of two architectures by five methods at compression {ARCHITECTURES:g}"
        if main is None:
            return [Check(what, False, NOTHING)]
        needs = [Need(*_key(s), m, ARCHITECTURES) for s in self.subjects.all for m in METHODS if not s.has(m, ARCHITECTURES)]
        both = len(self.subjects.all) > 1
        first = self._cells(f"{what} ({names})", needs) if both else self._second_network(what, needs)
        compressions = sorted({*COMPRESSIONS, *main.compressions})
        needs = [Need(*_key(main), m, c) for c in compressions for m in METHODS if not main.has(m, c)]
        at = several(f"{c:g}" for c in compressions)
        tables = f": testing accuracy, inference time and FLOP of {main.name} by five methods at compression {at}"
        curves = Check(": a curve for each of the three tables", len(main.compressions) > 1)
        return [first, self._cells(tables, needs), curves]

    def _second_network(self, what: str, needs: list[Need]) -> Check:
        """Return the check for a report that lacks the second network, and perhaps cells of the first."""
        second = [Need(SECOND["model"], SECOND["dataset"], method, ARCHITECTURES) for method in METHODS]
        grid = self._grid
        if grid and (command := grid.to_add([*needs, *second])):
            return Check(what, False, _lacking([*needs, *second], grid), self.sources.then_report(command, grid))
        like = self.subjects.main.group_made.runs[0]
        pre = max(int(run["pre_epochs"] or 0) for run in self.subjects.main.group_made.runs)
        own = {"for": [("mag", "pre-epochs", str(pre))]} if pre else {}
        command = self.sources.beside(like, "fc-mnist", second, **SECOND, **own)
        return Check(what, False, f"FC on MNIST is missing. {LIKE_THEM}", command)

    def _cells(self, what: str, needs: Sequence[Need]) -> Check:
        """Return the check of a deliverable that lacks these cells."""
        if not needs:
            return Check(what, True)
        grid = self._grid
        if grid:
            budgets = sorted({*(need.compression for need in needs), *self.subjects.main.compressions})
            command = grid.to_add(needs, [f"compression-list={','.join(f'{c:.6g}' for c in budgets)}"])
            if command:
                return Check(what, False, _lacking(needs, grid), self.sources.then_report(command, grid))
        first = [
            need for need in needs if (need.model, need.dataset, need.mixed) == (needs[0].model, needs[0].dataset, needs[0].mixed)
        ]
        runs = next(s for s in self.subjects.all if _key(s) == (first[0].model, first[0].dataset)).group_made.runs
        like = next((run for run in runs if run["pruner"] == first[0].pruner), runs[0])
        own = [
            (m, "pre-epochs", str(_pre(runs, m, like)))
            for m in {n.pruner for n in first}
            if _pre(runs, m, like) != like["pre_epochs"]
        ]
        name = f"more-{network_name(first[0].model).lower()}{'-amp' * first[0].mixed}"
        command = self.sources.beside(like, name, first, **({"for": own} if own else {}))
        return Check(what, False, f"{_lacking(needs)} {LIKE_THEM}", command)

    def _trace(self, number: int) -> list[Check]:
        traced = self.traced
        on_device = traced is not None and traced.on_device
        card = has_card([traced.run] if traced and traced.measured else self.subjects.runs)
        what = f".1: trace of one inference step of SNIP at compression {TRACED_AT:g}, with a CPU and a CUDA stream"
        if on_device and traced.as_asked:
            trace = Check(what, True)
        else:
            state = (
                "There is no such trace."
                if traced is None or on_device
                else "Missing is the CUDA stream: the trace has the CPU's alone."
            )
            trace = Check(what, False, *self._again(state))
        with_it = "It comes with the trace that has a CUDA stream."
        cpu = f"The report has the time on the CPU in its place. {with_it}" if traced else with_it
        return [
            trace,
            Check(".1: GPU hardware details", card, "" if card else f"The runs were made on a CPU. {with_it}"),
            Check(".2: CUDA time of all convolution layers, and its share of the step", on_device, "" if on_device else cpu),
            Check(".3: facts about the major source of time", traced is not None, "" if traced else "They come with the trace."),
            self._text(number, ".3: your analysis and two solutions"),
        ]

    def _again(self, state: str) -> tuple[str, str]:
        """Return what to do, and the command, for a trace that has a CUDA stream."""
        main, grid = self.subjects.main, self._grid
        if main is None:
            return NOTHING, ""
        need = Need(*_key(main), TRACED_BY, TRACED_AT, traced=True)
        if grid:
            sets = [f"for={TRACED_BY}@compression={TRACED_AT:g},model={main.group.key['model']}:save-trace"]
            if command := grid.to_add([need], sets, ["--no-cuda"]):
                command, cell = self.sources.then_report(command, grid), grid.folder_of(need)
                if cell is None or not (cell / "args.json").exists():
                    return f"{state} On a machine with a card, the grid's command adds it.", command
                remove = shlex.join(["rm", "-r", str(cell)])
                return f"{state} On a machine with a card, this runs the one cell again.", f"{remove} && {command}"
        like = main.of(TRACED_BY, TRACED_AT) or main.group_made.runs[0]
        command = self.sources.beside(like, "traced", [need], post_epochs=0, pre_epochs=0, no_cuda=False)
        return f"{state} On a machine with a card, this traces such a network without training it.", command

    def _block(self, number: int) -> list[Check]:
        main, at = self.subjects.main, self._compression
        sparsity = f": sparsity of the convolution layers of block 0, by SNIP at compression {at:g}"
        histograms = ": weight histograms of block 0 and of all layers"
        if run_of(self.subjects, self.choices) is not None:
            return [Check(sparsity, True), Check(histograms, True)]
        if main is None:
            return [Check(sparsity, False, NOTHING), Check(histograms, False, NOTHING)]
        return [self._cells(sparsity, [Need(*_key(main), "snip", at)]), Check(histograms, False, "The same cell adds them.")]

    def _layers(self, number: int) -> list[Check]:
        main, at = self.subjects.main, self._compression
        what = f": sparsity and weight histograms of every layer, by five methods at compression {at:g}"
        if main is None:
            return [Check(what, False, NOTHING)]
        return [self._cells(what, [Need(*_key(main), method, at) for method in METHODS if not main.has(method, at)])]

    def _amp(self, number: int) -> list[Check]:
        at = several(f"{c:g}" for c in COMPRESSIONS)
        what = f": peak memory and training time of Rand with and without AMP at compression {at}"
        main = self.subjects.main
        if main is None:
            return [Check(what, False, NOTHING)]
        mixed = [run for run in (main.mixed.runs if main.mixed else ()) if run.done and run["pruner"] == "rand"]
        there = {round(run.compression, 6) for run in mixed}
        needs = [Need(*_key(main), "rand", c, mixed=True) for c in COMPRESSIONS if c not in there]
        needs += [Need(*_key(main), "rand", c) for c in COMPRESSIONS if not main.has("rand", c)]
        paired = [self._paired(mixed)] if mixed else []
        return [self._cells(what, needs), *paired, self._text(number, ": your brief discussion")]

    def _paired(self, runs: Sequence[Run]) -> Check:
        what = ": ratio of the times with and without AMP, measured in turn"
        lacking = [str(run.folder) for run in runs if not run.summary.get(PAIRS)]
        if not lacking:
            return Check(what, True)
        words = shlex.join(["python", "main.py", "--experiment", "time", "--compare-precision", "--run", *lacking])
        grid = self._grid
        again = grid.same_command if grid and grid.is_assignment and grid.same_command else self.sources.report()
        return Check(what, False, "This measures it and makes the report again.", f"{words} && {again}")

    def _explain(self, number: int) -> list[Check]:
        there = bool(self.subjects.all)
        return [
            Check(".1: settings of the experiments", there),
            Check(".3: captions of all figures and tables", there),
            self._text(number, ".3: your discussion of patterns and conclusions"),
        ]

    def _text(self, number: int, what: str) -> Check:
        if self.discussion.paragraphs(number):
            return Check(what, True)
        return Check(what, False, f"Write it in {FILE} below the heading Task {number}, then make the report again.")


def _key(subject: Subject) -> tuple[str, str]:
    return str(subject.group.key["model"]), str(subject.group.key["dataset"])


def _lacking(needs: Sequence[Need], grid: GridFolder | None = None) -> str:
    """Name cells by network and compression, with their states in the grid that has them."""
    found: dict[tuple[str, bool, float], list[str]] = {}
    for need in needs:
        found.setdefault((need.model, need.mixed, need.compression), []).append(method_name(need.pruner))
    words = [
        f"{network_name(model)}{' with AMP' * mixed} at {c:g}: {several(methods)}" for (model, mixed, c), methods in found.items()
    ]
    states = grid.states(needs) if grid else ""
    return f"Lacking: {'; '.join(words)}{f' ({states})' if states else ''}." + (" The grid's command adds them." if grid else "")


def _pre(runs: Sequence[Run], method: str, like: Run) -> int:
    """Return the epochs before pruning of a method: its own in other cells; 200 for magnitude, which prunes a trained network."""
    own = [int(run["pre_epochs"] or 0) for run in runs if run["pruner"] == method]
    return own[0] if own else 200 if method == "mag" else 0
