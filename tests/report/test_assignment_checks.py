"""The check list of an assignment's deliverables: what it says is missing, and that each command makes just that, in the same grid."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from reports import collection
from test_assignment_report import ACCURACY, report, resnet, runs

from Utils.options.command_line import parse
from Utils.options.report_choices import Choices
from Utils.options.types import Grid
from Utils.report import document
from Utils.report.assignment.additions import GridFolder, Need, Sources
from Utils.report.assignment.discussion import Discussion
from Utils.report.assignment.main_part import assignment_report
from Utils.report.blocks import Document
from Utils.report.document import check_lines
from Utils.report.groups import groups
from Utils.report.report_run import Run, read_run

MINE = """
[report]
layout = "assignment"
[common]
seed-list = [1]
[[part]]
name = "a"
model-class = "lottery"
model = "resnet20"
dataset = "synthetic:3x8x8:3:60"
pruner-list = ["rand", "mag", "snip", "grasp", "synflow"]
compression-list = [0.2, 0.5, 1]
post-epochs = 1
for = ["snip@compression=1:save-trace", "synflow:prune-epochs=2", "mag:pre-epochs=1"]
[[part]]
name = "b"
model = "fc"
dataset = "synthetic:1x8x8:3:60"
pruner-list = ["rand", "mag", "snip", "grasp", "synflow"]
compression-list = [1]
post-epochs = 1
[[part]]
name = "c"
dense = false
model-class = "lottery"
model = "resnet20"
dataset = "synthetic:3x8x8:3:60"
pruner-list = ["rand"]
compression-list = [0.2, 0.5, 1]
post-epochs = 1
quantization = true
"""
NETWORK = ("resnet20", "synthetic:3x8x8:3:60")


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A function that makes the folder of a grid, as the assignment's command with these words begins it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(MINE)

    def begin(*words, name="mine"):
        folder = Path("Results/data/assignment") / name
        folder.mkdir(parents=True)
        argv = ["main.py", "--experiment", "assignment", "--preset", "mine.toml", *words]
        (folder / "args.json").write_text(json.dumps({"experiment": "assignment", "argv": argv}))
        (folder / "grid.csv").write_text("")
        return GridFolder(folder)

    return begin


def cells_of(line):
    words = shlex.split(line.partition(" && ")[0])
    assert words[:2] == ["python", "main.py"]
    plan = parse(words[2:])
    assert isinstance(plan, Grid)
    return plan


def places(plan):
    return {(cell.options.pruner, cell.options.compression, cell.options.quantization) for cell in plan.cells if cell.options.model == "resnet20"}


def test_the_same_command_has_the_cells_and_begins_nothing_anew(grid):
    folder = grid("--overwrite", "--jobs", "2")
    need = Need(*NETWORK, "rand", 0.5, mixed=True)
    assert folder.to_add([need]) == folder.same_command == "python main.py --experiment assignment --preset mine.toml --jobs 2"
    assert folder.states([need]) == "1 pending" and folder.folder_of(need).name == "part=c,pruner=rand,compression=0.5,seed=1"
    assert grid("--overwrite", "True", "--jobs=2", name="other").words == ["--experiment", "assignment", "--preset", "mine.toml", "--jobs=2"]
    assert folder.to_add([Need(*NETWORK, "rand", 0.5, traced=True)]) == ""
    Path("mine.toml").unlink()
    assert GridFolder(folder.folder).to_add([need]) == GridFolder(folder.folder).same_command == ""


def test_settings_that_left_cells_out_are_dropped_and_all_others_stay(grid):
    folder = grid("--set", "compression-list=1", "--set", "lr=0.01", name="mine-compression-list=1-lr=0.01")
    line = folder.to_add([Need(*NETWORK, "rand", 0.5)])
    assert line == "python main.py --experiment assignment --preset mine.toml --set lr=0.01 --expid mine-compression-list=1-lr=0.01"
    plan = cells_of(line)
    assert {cell.options.lr for cell in plan.cells} == {0.01} and ("rand", 0.5, True) in places(plan)


def test_a_compression_that_the_preset_lacks_is_set_and_the_folder_stays(grid):
    folder = grid()
    line = folder.to_add([Need(*NETWORK, "rand", 2.0)], ["compression-list=0.2,0.5,1,2"])
    plan = cells_of(line)
    assert "--set compression-list=0.2,0.5,1,2 --expid mine" in line and {("rand", 2.0, False), ("rand", 2.0, True)} <= places(plan)
    assert folder.to_add([Need("vgg16", "cifar10", "rand", 2.0)], ["compression-list=0.2,0.5,1,2"]) == ""


def whats(whole, word):
    (check,) = [check for check in whole.checks if word in check.what]
    return check


def test_a_whole_report_lacks_the_card_and_the_text_alone():
    lines = check_lines(report(*runs()))
    assert lines[0] == "Deliverables: 7 of 16 deliverables are present."
    assert whats(report(*runs()), "five methods at compression 1 (ResNet20 on CIFAR-10 and FC on MNIST)").present
    assert not check_lines(type("General", (), {"checks": []})())


def test_cells_without_a_grid_are_made_beside_and_reported_with_it():
    found = [run for run in runs() if (run["pruner"], run.compression, run["model"]) != ("synflow", 0.5, "resnet20")]
    found = [run for run in found if not (run.mixed and run.compression == 1.0)]
    whole = report(*found)
    check = whats(whole, "inference time and FLOP")
    assert not check.present and "ResNet20 at 0.5: SynFlow" in check.how
    plan = cells_of(check.command)
    assert places(plan) == {("dense", 0.0, False), ("synflow", 0.5, False)} and check.command.endswith("--run /runs Results/data/singleshot/more-resnet20")
    amp = whats(whole, "with and without AMP at")
    assert "ResNet20 with AMP at 1: Rand" in amp.how and ("rand", 1.0, True) in places(cells_of(amp.command))
    trace = whats(whole, "CPU and a CUDA stream")
    (cell,) = [cell.options for cell in cells_of(trace.command).cells if cell.options.pruner != "dense"]
    assert (cell.pruner, cell.compression, cell.save_trace, cell.post_epochs) == ("snip", 1.0, True, 0)


def test_the_second_network_is_a_grid_of_its_own():
    check = whats(report(*(run for run in runs() if run["model"] == "resnet20")), "two architectures")
    assert not check.present and {cell.options.model for cell in cells_of(check.command).cells} == {"fc"}
    assert {cell.options.pruner for cell in cells_of(check.command).cells} == {"dense", *ACCURACY}


def test_ratios_of_times_are_measured_later():
    lacking = [run if not run.mixed else Run(run.folder, run.options, {k: v for k, v in run.summary.items() if k != "precision_pairs"}, "done") for run in runs()]
    check = whats(report(*lacking), "ratio of the times")
    words = shlex.split(check.command.partition(" && ")[0])
    assert parse(words[2:]).compare_precision and len(words) == 2 + 4 + 3 and whats(report(*runs()), "ratio of the times").present


def test_of_five_methods_none_may_be_missing_at_any_compression():
    extra = [resnet("rand", 2.0)]
    check = whats(report(*runs(), *extra), "inference time and FLOP")
    assert "at compression 0.2, 0.5, 1 and 2" in check.what and "ResNet20 at 2: Mag, SNIP, GraSP and SynFlow" in check.how


def test_a_trace_on_the_cpu_is_run_again_on_a_card(grid, monkeypatch):
    """The one cell is removed first; the grid's command, without --no-cuda, then has that cell alone to run."""
    folder = grid("--no-cuda")
    cell = folder.folder / "part=a,pruner=snip,compression=1,seed=1"
    cell.mkdir()
    (cell / "args.json").write_text("{}")
    at = {"model": NETWORK[0], "dataset": NETWORK[1], "model_class": "lottery"}
    own = [Run(cell, run.options | at, run.summary, "done") for run in (resnet("snip", 1.0),)]
    check = whats(assignment_report(collection(*own), groups(collection(*own)), Choices(), Discussion(), Sources([folder.folder])), "CUDA stream")
    remove, _, again = check.command.partition(" && ")
    assert shlex.split(remove) == ["rm", "-r", str(cell)] and again == "python main.py --experiment assignment --preset mine.toml"


@pytest.mark.long
def test_every_command_runs_as_printed_and_adds_what_it_says(command, monkeypatch, tmp_path):
    """An assignment of which a setting left most out: its own lines lead to the whole, whatever a machine without a card can make."""
    Path("mine.toml").write_text(MINE)
    monkeypatch.setattr(document, "_general", lambda found, *_: Document("Appendix", "", found))  # its figures take minutes

    def run(line):
        for part in line.split(" && "):
            words = shlex.split(part)
            if words[:2] == ["rm", "-r"]:
                shutil.rmtree(words[2])
                continue
            monkeypatch.setattr(sys, "argv", words[1:])
            done = command(*words[2:])
            assert done.status == 0, done.err
        return [line for line in done.out.splitlines() if line.startswith(("Missing: Task", "Deliverables"))]

    lines = run("python main.py --experiment assignment --preset mine.toml --set compression-list=1 --set pruner-list=rand,snip --expid whole "
                "--set for=snip:save-trace")  # fmt: skip
    folder = Path("Results/data/assignment/whole")
    (folder / "report" / "discussion.md").write_text("## Task 2\nslow\n## Task 4\nalike\n## Task 5\n**so it is**\n")
    done = []
    while ready := [line for line in lines if " python main.py" in line and "rm -r" not in line]:
        done.append(ready[0].partition(".")[0])
        assert len(done) == len(set(done)), done  # each command adds what it says
        lines = run(f"python main.py{ready[0].partition(' python main.py')[2]}")
    assert "Missing: Task 1: testing accuracy of two architectures" in done[0] and len(lines) == 4
    (again,) = [line for line in lines if "rm -r" in line]
    lines = run(again[again.index("rm -r") :])
    assert lines[0] == "Deliverables: 13 of 16 deliverables are present." and all("CUDA" in line or "GPU" in line for line in lines[1:])
    cell = folder / "part=a,pruner=snip,compression=1,seed=1"
    assert read_run(cell).done and (cell / "trace.json").exists()
    main = (folder / "report" / "report.html").read_text()
    assert "<strong>so it is</strong>" in main and (folder / "report" / "discussion.md").read_text().startswith("## Task 2\nslow")
    assert {file.name for file in (folder / "report").iterdir()} >= {"report.md", "appendix.html", "appendix.md", "figures", "tables"}


