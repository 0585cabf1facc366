"""Names from outside (networks, layers, folders, runs) are text and nothing else, in every file that a program may open."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from trees import make_tree

from Utils.base.csv_files import FORMULA, as_named, inert, plain, read_named, write_csv

NET = """
from torch import nn

def net(shape, classes):
    model = nn.Sequential()
    model.add_module("flat", nn.Flatten())
    model.add_module("=cmd|' /C calc'!A0", nn.Linear(192, 8))
    model.add_module("<img src=x onerror=alert(1)>", nn.ReLU())
    model.add_module("$\\\\frac{$", nn.Linear(8, 8))
    model.add_module("@SUM(A1)", nn.ReLU())
    model.add_module("<img src=y onerror=alert(2)>", nn.Linear(8, 8))
    model.add_module("[a](javascript:x) | `b`\\n# c", nn.Linear(8, classes))
    return model
"""
FILE, SET, NAME = "=cmd<script>alert(4)<b>$_.py", "folder:+set<img src=z onerror=alert(3)>$^\r<img src=q>", "=1+1<svg onload=alert(5)>|$x^"
WORDS = ["--dataset", SET, "--model", f"{FILE}:net", "--post-epochs", "1", "--prune-epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A grid, a single run, a study and histograms of a network with such names, and the report about them."""
    import main

    place = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path(FILE).write_text(NET)
        make_tree(Path(SET.removeprefix("folder:")), classes=("=1+1", "<b>ant</b>"))
        commands = (
            [*WORDS, "--pruner-list", "snip", "mag", "--compression-list", "0.2", "0.4", "--expid", NAME],
            [*WORDS, "--compression", "0.3", "--expid", "-single"],
            ["--experiment", "layer-conservation", *WORDS[:4], "--pruner-list", "mag", "--expid", "@study"],
            ["--experiment", "histogram", "--run", "Results/data/singleshot/-single", "--layer", "all"],
            ["--experiment", "report", "--run", "Results/data", "--expid", "=report", "--layer", "=cmd|' /C calc'!A0"],
        )
        for words in commands:
            assert main.main(joined(words)) == 0
    return place / "Results" / "data"


def joined(words):
    """`--expid NAME` as one word, since a name may begin with a dash."""
    at = words.index("--expid") if "--expid" in words else None
    return words if at is None else [*words[:at], f"--expid={words[at + 1]}", *words[at + 2 :]]


def test_no_cell_of_any_table_is_a_formula(folder):
    tables = list(folder.rglob("*.csv"))
    assert {"grid.csv", "compression.csv", "histogram.csv", "layer-conservation.csv"} <= {file.name for file in tables}
    seen = set()
    for file in tables:
        with open(file, newline="", encoding="utf-8") as stream:
            for cell in (cell for row in csv.reader(stream) for cell in row):
                assert not cell.startswith(FORMULA) or _is_number(cell), (file, cell)
                seen.add(cell)
    assert "'=cmd|' /C calc'!A0" in seen and "'@SUM(A1)" not in seen  # a ReLU has no row


def _is_number(text):
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-inf", text) is not None


class Page(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_no_name_is_markup_in_the_page(folder):
    page = Page((folder / "report" / "=report" / "report.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.elements}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    sources = [attributes.get("src", "data:") for _, attributes in page.elements]
    assert all(source.startswith("data:") for source in sources)
    assert "<img src=x" not in page.text and "=cmd<script>" in page.text and "<img src=z" in page.text  # shown as they are


def test_no_name_is_markup_in_markdown(folder):
    text = (folder / "report" / "=report" / "report.md").read_bytes().decode()
    marked = [line for line in re.split(r"[\r\n]", text) if not line.startswith("    ")]  # what is indented is code
    assert not [line for line in marked if re.search(r"<(img|script|svg|b)\b", line)]
    assert not re.search(r"(?<!\\)\]\(javascript", text) and "\n# c" not in text
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.fullmatch(r"\|[ :|-]+\|", line)]
    for start in starts:  # no name adds a column
        columns = len(re.findall(r"(?<!\\)\|", lines[start]))
        rows = lines[start - 1 : next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))]
        assert all(len(re.findall(r"(?<!\\)\|", row)) == columns for row in rows)


def test_names_come_back_as_they_were(folder):
    modules = set(read_named(folder / "singleshot" / "-single" / "compression.csv")["module"])
    assert {"=cmd|' /C calc'!A0", "$\\frac{$", "<img src=y onerror=alert(2)>"} <= modules


@pytest.mark.parametrize("text", ["=1", "'=1", "''@x", "+a", "-", "-1", "1", "", "'", "'a", "\tx", "a=1"])
def test_inert_and_plain_are_inverse(text, tmp_path):
    assert plain(inert(text)) == text
    write_csv(pd.DataFrame({"=name": [text, "x"], "n": [1.5, None]}), tmp_path / "t.csv")
    back = as_named(pd.read_csv(tmp_path / "t.csv", dtype={"'=name": str}, keep_default_na=False))
    assert back["=name"].tolist() == [text, "x"]
