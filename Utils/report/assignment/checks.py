"""The check list of an assignment's deliverables: each present or missing, with what adds it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from Utils.options.report_choices import Choices
from Utils.report.assignment.additions import GridFolder, Need, Sources
from Utils.report.assignment.block import COMPRESSION, run_of
from Utils.report.assignment.discussion import FILE, Discussion
from Utils.report.assignment.hardware import has_card
from Utils.report.assignment.subjects import Subject, Subjects
from Utils.report.assignment.tracing import COMPRESSION as TRACED_AT
from Utils.report.assignment.tracing import METHOD as TRACED_BY
from Utils.report.assignment.tracing import Traced
from Utils.report.assignment.tuning import ARCHITECTURES
from Utils.report.assignment.words import METHODS, several
from Utils.report.blocks import Check
from Utils.report.report_run import Run
from Utils.report.sections.precision import PAIRS

COMPRESSIONS = (0.2, 0.5, 1.0)
FC = {"model_class": "default", "model": "fc", "dataset": "mnist"}
SAME = "The command of the grid goes on with it."
ON_A_CARD = "Run it on a machine with a card."


@dataclass(frozen=True)
class CheckMaker:
    """The facts about which the check list of a report is made."""

    subjects: Subjects
    traced: Traced | None
    choices: Choices
    discussion: Discussion
    sources: Sources

    def of(self, task: str, number: int) -> list[Check]:
        """Return the deliverables of the task `task`, which has this number in the assignment."""
        makers = {"tuning": self._tuning, "trace": self._trace, "block": self._block, "layers": self._layers,
                  "amp": self._amp, "explain": self._explain}  # fmt: skip
        return makers[task](number)

    @property
    def _grid(self) -> GridFolder | None:
        return self.sources.grid_of(self.subjects.runs)

    def _tuning(self, number: int) -> list[Check]:
        main = self.subjects.main
        names = several(subject.name for subject in self.subjects.all)
        head = f"Task {number}: testing accuracy of two architectures"
        asked = [Need(*_key(s), method, ARCHITECTURES) for s in self.subjects.all for method in METHODS]
        lacking = [need for need in asked if not self._subject_of(need).has(need.pruner, need.compression)]
        if main is None:
            return [Check(head, False, "No run has finished.")]
        if lacking:
            first = self._cells(f"{head} ({names}), by five methods at compression {ARCHITECTURES:g}", lacking)
        elif len(self.subjects.all) < 2:
            first = self._second_network(head)
        else:
            first = Check(f"{head} ({names}), by five methods at compression {ARCHITECTURES:g}", True)
        compressions = sorted({*COMPRESSIONS, *main.compressions})
        cells = [Need(*_key(main), method, c) for c in compressions for method in METHODS]
        lacking = [need for need in cells if not main.has(need.pruner, need.compression)]
        at = f"at compression {several(f'{c:g}' for c in compressions)}"
        what = f"Task {number}: tables of testing accuracy, inference time and FLOP of {main.name} {at}, by five methods"
        curves = Check(f"Task {number}: a curve for each of the three tables", len(main.compressions) > 1)
        return [first, self._cells(what, lacking), curves]

    def _subject_of(self, need: Need) -> Subject:
        return next(subject for subject in self.subjects.all if _key(subject) == (need.model, need.dataset))

    def _second_network(self, head: str) -> Check:
        needs = [Need(FC["model"], FC["dataset"], method, ARCHITECTURES) for method in METHODS]
        grid, what = self._grid, f"{head}: the second one, FC on MNIST"
        if grid and (command := grid.to_add(needs)):
            return Check(what, False, f"{SAME} Its cells are {grid.states(needs)}.", command)
        run = next(run for run in self.subjects.main.group_made.runs)
        plain = {"pruner_list": list(METHODS), "compression_list": [ARCHITECTURES], "post_epochs": 10, "pre_epochs": 0}
        command = self.sources.beside(run, "fc-mnist", **_without_budget(), **FC, **plain, save_trace=False)
        return Check(what, False, "Run it as a grid of its own, and make the report of both.", command)

    def _cells(self, what: str, needs: Sequence[Need]) -> Check:
        """Return the check of a deliverable for which these cells are missing."""
        if not needs:
            return Check(what, True)
        cells = several(f"{METHODS.get(n.pruner, n.pruner)} at {n.compression:g}{' with AMP' * n.mixed}" for n in needs)
        grid, lacks = self._grid, f"Missing: {cells}."
        if grid:
            budgets = sorted({need.compression for need in needs} | {run.compression for run in self.subjects.main.group.runs})
            sets = [f"compression-list={','.join(f'{c:.6g}' for c in budgets)}"]
            if command := grid.to_add(needs, sets):
                states = grid.states(needs)
                return Check(what, False, f"{lacks} {SAME}{f' Its cells are {states}.' if states else ''}", command)
        subject = self._subject_of(needs[0])
        like = next((r for r in subject.group_made.runs if r["pruner"] == needs[0].pruner), subject.group_made.runs[0])
        methods, budgets = list(dict.fromkeys(n.pruner for n in needs)), sorted({n.compression for n in needs})
        changes = {"pruner_list": methods, "compression_list": budgets, "save_trace": False}
        if needs[0].mixed:
            changes["quantization"] = True
        name = f"added-{'amp-' * needs[0].mixed}{'-'.join(methods)}-{'-'.join(f'{c:g}' for c in budgets)}"
        command = self.sources.beside(like, name, **_without_budget(), **changes)
        how = f"{lacks} The grid's command has no such cells: run them as a grid of their own, and make the report of both."
        return Check(what, False, how, command)

    def _trace(self, number: int) -> list[Check]:
        what = f"Task {number}.1: trace of one inference step of SNIP at compression {TRACED_AT:g}, with a CPU and a CUDA stream"
        card = has_card([self.traced.run] if self.traced and self.traced.measured else self.subjects.runs)
        how, command = ("", "") if card and self.traced and self.traced.on_device else self._again()
        streams = "" if self.traced is None else "The CUDA stream is missing: the trace has the CPU's alone. "
        present = self.traced is not None and self.traced.on_device
        checks = [Check(what, present, "" if present else streams + how, "" if present else command)]
        time = f"Task {number}.2: CUDA time of all convolution layers, and its share of the step"
        cpu = (
            "The report has the time on the CPU in its place; the trace with a CUDA stream adds it."
            if self.traced
            else "The trace adds it."
        )
        smi = f"Task {number}.1: GPU hardware details"
        checks += [
            Check(smi, card, "" if card else "The runs were made on a CPU; the trace made on a machine with a card adds it.")
        ]
        checks += [Check(time, present, "" if present else cpu)]
        facts = f"Task {number}.3: facts about the major source of time"
        checks.append(Check(facts, self.traced is not None, "" if self.traced else "The trace adds it."))
        return [*checks, self._text(number, f"Task {number}.3: your analysis and two solutions")]

    def _again(self) -> tuple[str, str]:
        """Return what to do, and the command, for a trace that has a CUDA stream."""
        main = self.subjects.main
        if main is None:
            return "", ""
        need = Need(*_key(main), TRACED_BY, TRACED_AT, traced=True)
        grid, own = self._grid, main.of(TRACED_BY, TRACED_AT)
        if grid:
            sets = [f"for={TRACED_BY}@compression={TRACED_AT:g},model={main.group.key['model']}:save-trace"]
            command = grid.to_add([need], sets)
            cell = grid.cell_of(need)
            if command and cell is not None and (cell / "args.json").exists():
                remove = shlex.join(["rm", "-r", str(cell)])
                return (
                    "On a machine with a card, remove this one cell, and let the grid's command run it again.",
                    f"{remove} && {command}",
                )
            if command:
                return ON_A_CARD, command
        like = own or main.group_made.runs[0]
        changes = {"pruner": TRACED_BY, "compression": TRACED_AT, "save_trace": True, "post_epochs": 0, "pre_epochs": 0}
        place = Path(str(like["result_dir"]), "singleshot", "traced", "trace.json")
        trace = shlex.join(["python", "main.py", "--experiment", "trace", "--trace", str(place), "--expid", "traced"])
        report = self.sources.report(Path(str(like["result_dir"]), "trace", "traced"))
        from Utils.report.commands import command_of

        made = command_of(like, experiment="singleshot", expid="traced", no_cuda=False, **_without_budget(), **changes)
        result = shlex.join(["--result-dir", str(like["result_dir"])])
        return "On a machine with a card, trace such a network, measure the trace, and make the report of both.", (
            f"{made} && {trace} {result} && {report}"
        )

    def _block(self, number: int) -> list[Check]:
        run = run_of(self.subjects, self.choices)
        at = COMPRESSION if self.choices.layer_compression is None else self.choices.layer_compression
        words = [f"Task {number}: sparsity of the convolution layers of block 0, SNIP at compression {at:g}",
                 f"Task {number}: weight histograms of block 0 and of all layers"]  # fmt: skip
        if run is not None:
            return [Check(what, True) for what in words]
        main = self.subjects.main
        if main is None:
            return [Check(what, False, "No run has finished.") for what in words]
        return [self._cells(words[0], [Need(*_key(main), "snip", at)]), Check(words[1], False, "The same cell adds them.")]

    def _layers(self, number: int) -> list[Check]:
        main = self.subjects.main
        at = COMPRESSION if self.choices.layer_compression is None else self.choices.layer_compression
        what = f"Task {number}: sparsity and weight histograms of every layer, by five methods at compression {at:g}"
        if main is None:
            return [Check(what, False, "No run has finished.")]
        return [self._cells(what, [Need(*_key(main), method, at) for method in METHODS if not main.has(method, at)])]

    def _amp(self, number: int) -> list[Check]:
        what = f"Task {number}: peak memory and training time of Rand with and without AMP at compression {several(f'{c:g}' for c in COMPRESSIONS)}"
        main = self.subjects.main
        if main is None:
            return [Check(what, False, "No run has finished.")]
        with_amp = [run for run in (main.mixed.runs if main.mixed else ()) if run.done and run["pruner"] == "rand"]
        there = {round(run.compression, 6) for run in with_amp}
        needs = [Need(*_key(main), "rand", c, mixed=True) for c in COMPRESSIONS if c not in there]
        needs += [Need(*_key(main), "rand", c) for c in COMPRESSIONS if not main.has("rand", c)]
        checks = [self._cells(what, needs)]
        if with_amp:
            checks.append(self._paired(number, with_amp))
        return [*checks, self._text(number, f"Task {number}: your brief discussion")]

    def _paired(self, number: int, runs: Sequence[Run]) -> Check:
        what = f"Task {number}: ratio of the times with and without AMP, measured in turn"
        lacking = [str(run.folder) for run in runs if not run.summary.get(PAIRS)]
        if not lacking:
            return Check(what, True)
        words = shlex.join(["python", "main.py", "--experiment", "time", "--compare-precision", "--run", *lacking])
        grid = self._grid
        again = grid.same_command if grid and grid.is_assignment and grid.plan else self.sources.report()
        return Check(what, False, "Measure it, and make the report again.", f"{words} && {again}")

    def _explain(self, number: int) -> list[Check]:
        present = bool(self.subjects.all)
        return [
            Check(f"Task {number}.1: settings of the experiments", present),
            Check(f"Task {number}.3: captions of all figures and tables", present),
            self._text(number, f"Task {number}.3: your discussion of patterns and conclusions"),
        ]

    def _text(self, number: int, what: str) -> Check:
        if self.discussion.paragraphs(number):
            return Check(what, True)
        return Check(
            what, False, f"Write it in {FILE} below the heading Task {number}, and make the report again by the same command."
        )


def _key(subject: Subject) -> tuple[str, str]:
    return str(subject.group.key["model"]), str(subject.group.key["dataset"])


def _without_budget() -> dict[str, None]:
    """Return the changes that leave the budget, the method's single value and its seed of a run out of a grid's command."""
    return dict.fromkeys(("density", "sparsity"))
