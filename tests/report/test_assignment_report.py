"""The report in the layout of an assignment: its tables, its words and its place for the author. All numbers are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from reports import collection, made

from Utils.options.report_choices import TASKS, USUAL_TASKS, Choices
from Utils.report import render
from Utils.report.assignment.additions import Sources
from Utils.report.assignment.discussion import Discussion, begin_discussion, read_discussion
from Utils.report.assignment.main_part import TITLES, assignment_report, tasks_of
from Utils.report.assignment.tracing import limits
from Utils.report.assignment.words import by_method, dataset_name, network_name, several
from Utils.report.blocks import AuthorText, Figure, Table
from Utils.report.groups import groups
from Utils.runs.manifest import OwnFiles

RESNET = {"model_class": "lottery", "model": "resnet20", "dataset": "cifar10"}
ACCURACY = {"rand": 80.0, "mag": 91.0, "snip": 88.5, "grasp": 85.0, "synflow": 87.0}


def resnet(method, compression, top1=None, **changes):
    rounds = {"synflow": 100}.get(method, 1)
    return made(method, compression, top1=ACCURACY.get(method, 92.0) if top1 is None else top1, **{"prune_epochs": rounds} | RESNET | changes)


def runs():
    found = [resnet(method, c) for method in ACCURACY for c in (0.2, 0.5, 1.0)] + [resnet("dense", 0.0)]
    found += [made(m, 1.0, top1=top1 + 10, prune_epochs=100 if m == "synflow" else 1) for m, top1 in ACCURACY.items()]
    for compression in (0.2, 0.5, 1.0):
        pairs = {kind: {"ratio": {"median": 0.5, "q1": 0.4, "q3": 0.7}, "mixed_seconds": {"median": 1.0}, "full_seconds": {"median": 2.0},
                        "pairs": 9, "batch_size": 64} for kind in ("train", "inference")}  # fmt: skip
        summary = {"seconds": {"post_train": 60.0 * compression}, "peak_memory_bytes": {"train": 2_500_000}, "precision": "mixed",
                   "precision_pairs": pairs | {"full": "float32", "mixed": "float16"}}  # fmt: skip
        found.append(resnet("rand", compression, quantization=True, summary=summary))
    return found


def report(*found, text="", tasks=USUAL_TASKS):
    whole = collection(*found)
    return assignment_report(whole, groups(whole), Choices(0.5, tasks=tasks), Discussion(text), Sources(["/runs"]))


def tables(document):
    return {block.name: block for block in document.blocks if isinstance(block, Table)}


def rows(table):
    return [[cell.replace("\u00a0", " ") for cell in row] for row in table.text.to_numpy().tolist()]


def test_the_tables_of_the_assignment_in_its_columns():
    document = report(*runs())
    found = tables(document)
    table = found["task-1-architectures"]
    assert list(table.text) == ["Data", "Arch", "Rand", "Mag", "SNIP", "GraSP", "SynFlow"] and table.words == 2
    assert rows(table) == [["CIFAR-10", "ResNet20", "80.00", "91.00", "88.50", "85.00", "87.00"], ["MNIST", "FC", "90.00", "101.00", "98.50", "95.00", "97.00"]]
    for word in ("density of 10\u00a0%, which the assignment calls sparsity", "90\u00a0% of the weights are removed", "SynFlow: 100 rounds", "92.00"):
        assert word in table.caption
    for name in ("task-1-accuracy", "task-1-inference-time", "task-1-flop"):
        assert list(found[name].text) == ["Compression", "Rand", "Mag", "SNIP", "GraSP", "SynFlow"]
        assert [row[0] for row in rows(found[name])] == ["0.2", "0.5", "1"] and "ResNet20 on CIFAR-10" in found[name].caption
    assert rows(found["task-1-flop"])[0][1:] == ["10 (0.1000)"] * 5 and "Unpruned: 100." in found["task-1-flop"].caption
    assert rows(found["task-1-accuracy"])[1][1:3] == ["80.00", "91.00"]


def test_the_table_of_amp_and_the_paired_ratio_beside_it():
    table = tables(report(*runs()))["task-4-amp"]
    assert list(table.text) == ["Compression", "Peak Mem (MB) w/ AMP", "Training Time (s) w/ AMP", "Peak Mem (MB) wo/ AMP", "Training Time (s) wo/ AMP",
                                "Training step, AMP over FP32"]  # fmt: skip
    assert rows(table) == [[f"{c:g}", "2.5", f"{60 * c:.1f}", "3.0", "2.0", "0.50 (0.40 to 0.70)"] for c in (0.2, 0.5, 1.0)]
    assert "pruned by Rand" in table.caption and "mixed" in table.caption and "float32" in table.caption


def test_two_numbers_of_rounds_are_two_columns():
    once = [resnet("synflow", c, top1=70.0, prune_epochs=1, folder=f"once-{c}") for c in (0.2, 0.5, 1.0)]
    found = tables(report(*runs(), *once))
    assert list(found["task-1-accuracy"].text)[-2:] == ["SynFlow", "SynFlow, 1 round"]
    assert [row[-2:] for row in rows(found["task-1-accuracy"])] == [["87.00", "70.00"]] * 3
    assert "SynFlow: 1 and 100 rounds" in found["task-1-accuracy"].caption
    alone = tables(report(*(run for run in runs() if run["pruner"] != "synflow"), *once))["task-1-accuracy"]
    assert list(alone.text)[-1] == "SynFlow" and [row[-1] for row in rows(alone)] == ["70.00"] * 3 and "SynFlow: 1 round." in alone.caption


def test_tasks_stand_in_order_and_tables_and_figures_are_counted():
    document = report(*runs())
    assert [section.title for section in document.sections] == ["Deliverables", *(f"Task {n}: {TITLES[t]}" for n, t in enumerate(USUAL_TASKS, 1))]
    for kind in (Table, Figure):
        numbers = [block.number for block in document.blocks if isinstance(block, kind)]
        assert numbers == [f"{kind.__name__} {n}" for n in range(1, len(numbers) + 1)] and len(numbers) >= 2
    assert [block.task for block in document.blocks if isinstance(block, AuthorText)] == [f"Task {n}" for n in range(1, 6)]
    assert tasks_of(document)[0] == "Hyper-parameter tuning" and set(TITLES) == set(TASKS)
    short = report(*runs(), tasks=("tuning", "layers", "explain"))
    assert [section.title for section in short.sections][1:] == ["Task 1: Hyper-parameter tuning", "Task 2: Compression ratio of each layer",
                                                                 "Task 3: Explain your results and submit a short report"]  # fmt: skip
    html = render.html(document)
    assert "<figcaption>Table 1. Testing accuracy" in html and "<h3>Testing on different architectures</h3>" in html
    assert html.count("seed") < 6  # said once, not in each caption


def test_settings_in_sentences():
    mag = [resnet("mag", c, pre_epochs=200) for c in (0.2, 0.5, 1.0)]
    others = [run for run in runs() if run["pruner"] != "mag"]
    text = render.markdown(report(*others, *mag))
    for words in ("Adam with learning rate 0.001", "random crops and horizontal flips", "batches of 64 images", "0 for Rand, SNIP, GraSP and SynFlow; 200 for Mag",
                  "SynFlow: 100 rounds; the other methods: 1 round", "with seed 1: nothing is known of the spread"):  # fmt: skip
        assert words in text, words


def test_a_report_without_any_of_it():
    """Only a study of another network: each task says what is missing."""
    document = report(made("snip", 2.0, status="failed"), made("snip", 1.0, experiment="prune", top1=None))
    assert not any(check.present for check in document.checks if check.what.startswith("Task 1: testing"))
    assert render.html(document).count("Your text for Task") == 5


def test_names_in_words():
    assert [network_name(name) for name in ("resnet20", "wide-resnet32", "vgg16", "vgg16-bn", "fc", "/a/net.py:build", "alexnet")] == [
        "ResNet20", "Wide ResNet32", "VGG16", "VGG16 with BatchNorm", "FC", "net.py:build", "alexnet"]  # fmt: skip
    assert [dataset_name(name) for name in ("cifar10", "mnist", "folder:/a/my set", "synthetic:1x8x8:3:60")] == [
        "CIFAR-10", "MNIST", "my set", "synthetic:1x8x8:3:60"]  # fmt: skip
    assert several([1, 2, 2, 3]) == "1, 2 and 3" and several(["a"]) == "a" and several([]) == ""
    assert by_method([("Mag", "2"), ("Rand", "0"), ("SNIP", "0")]) == "2 for Mag; 0 for Rand and SNIP" and by_method([("Mag", "2"), ("Rand", "2")]) == "2"


def step(share, on="device", kernels=10):
    return {"on": on, "busy": {"share_of_step": share, "ms": 2.0}, "attribution": {"kernels": kernels}}


def test_the_limit_of_a_step():
    (line,) = limits(step(0.2))
    assert "works for 20.0% of the step and waits for the rest; a kernel runs 200.0 µs on average: the CPU" in line
    (line,) = limits(step(0.8, kernels=0))
    assert line == "The device works for 80.0% of the step: the kernels limit the step, not the CPU that launches them."
    assert "their work limits it" in limits(step(0.9, on="cpu"))[0]


TEXT = """# My report
lost words
## Task 2: whatever the heading says
Because of *launch* overhead, `conv2d` is **slow** <script>alert(1)</script>:

- fuse | it
- a second way

<!-- not this
-->
## Task 9
nowhere
"""


def test_the_text_of_the_author_is_set_without_markup_of_its_own(tmp_path):
    document = report(*runs(), text=TEXT)
    html, markdown = render.html(document), render.markdown(document)
    assert "Because of <em>launch</em> overhead, <code>conv2d</code> is <strong>slow</strong> &lt;script&gt;" in " ".join(html.split())
    assert "<li>fuse | it</li>" in " ".join(html.split()) and "<script" not in html and "not this" not in html
    assert "Because of *launch* overhead, `conv2d` is **slow** &lt;script>" in markdown and "\n- a second way\n" in markdown
    latex = render.latex(document)
    assert r"Because of \textit{launch} overhead, \texttt{conv2d} is \textbf{slow} \textless{}script\textgreater{}" in latex
    assert r"\item a second way" in latex and "present: Task 2.3: your analysis and two solutions" in latex
    assert "above the first heading of a task, is left out" in html and "below the heading Task 9" in html and "lost words" not in html
    whats = {check.what: check.present for check in document.checks if "your" in check.what}
    assert whats == {"Task 2.3: your analysis and two solutions": True, "Task 4: your brief discussion": False,
                     "Task 5.3: your discussion of patterns and conclusions": False}  # fmt: skip


def test_the_file_of_the_author_is_made_once_and_never_touched(tmp_path):
    begin_discussion(tmp_path, ["One", "Two"])
    file = tmp_path / "discussion.md"
    assert "\n## Task 1: One\n\n\n## Task 2: Two\n" in file.read_text() and read_discussion(tmp_path).paragraphs(1) == []
    file.write_text("## Task 2\nmine")
    begin_discussion(tmp_path, ["One"])
    own = OwnFiles(tmp_path)
    own.write_file("report.md", lambda path: path.write_text("x"))
    own.remove()
    assert file.read_text() == "## Task 2\nmine" and not (tmp_path / "report.md").exists()
    assert read_discussion(tmp_path).paragraphs(2)[0].lines[0][0].text == "mine"


@pytest.mark.parametrize("kind", ["folder", "bytes", "nowhere"])
def test_a_file_of_the_author_that_cannot_be_read_is_named_and_stays(tmp_path, kind):
    file = tmp_path / "discussion.md"
    {"folder": file.mkdir, "bytes": lambda: file.write_bytes(b"\xff\xfe\xff"), "nowhere": lambda: file.symlink_to(tmp_path / "none")}[kind]()
    (note,) = read_discussion(tmp_path).check(5)
    assert str(Path("discussion.md")) in note and "left out" in note
    begin_discussion(tmp_path, ["One"])
    assert not (tmp_path / "none").exists() and (file.is_dir() or file.is_symlink() or file.read_bytes() == b"\xff\xfe\xff")
