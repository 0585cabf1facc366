"""Markdown that reads like text and shows the same, LaTeX in which nothing is a command, and a PDF where there is a browser."""

from __future__ import annotations

import random
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from Utils.report import latex_text, print_pdf
from Utils.report.markdown_text import in_block, in_brackets, in_cell, in_heading, in_span

AS_THEY_ARE = [
    "pruner=snip,compression=0.5", "a_b and x86_64", "top-1 (%), n = 3.", "33.33 ± 0.00 (2 of 3 untrained)", "2 * 3", "a*b", "1.5 times", "0.5 < 1 > 0.2",
    "#5", "-1 and - 2", "C:\\runs", "a & b", "[1, 2]", "5 $ or 5 €", "~/runs", "`", "x | y", "why!", "1.x", "+5", "{a}",
]  # fmt: skip
BLOCKS = {
    "*x*": r"\*x\*", "**x**": r"\*\*x\*\*", "_x_": r"\_x\_", "1. x": r"1\. x", "12)": r"12\)", "# x": r"\# x", "- x": r"\- x", "+": r"\+", "> x": r"\> x",
    "<b>": "&lt;b>", "</b>": "&lt;/b>", "&lt;": r"\&lt;", "`a` b": r"\`a\` b", "[a](b)": r"[a\](b)", "![a](b)": r"![a\](b)", "~~x~~": r"\~\~x\~\~",
    "a\\*b": r"a\\*b", "$x$": r"\$x\$", "---": r"\---", "[a]: b": r"\[a]: b", "[x] a": r"\[x] a", "2*3 and 4*5": r"2\*3 and 4\*5", "a\n# b": "a # b", "~~~": r"\~~~",
}  # fmt: skip
RENDERER = MarkdownIt("gfm-like", {"linkify": False})
TEXTS = ["snip", " ", "_", "*", "**", "~", "`", "[", "](", "]:", "#", "-", "1. ", "|", "\\", "<b>", "&amp;", "$", "!", "+", "x", "x y"]


class Shown(HTMLParser):
    """What a page shows: its elements, its text, and the description of its picture."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = self.alt = ""
        self.feed(RENDERER.render(markdown))
        self.text = self.text.strip()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.alt = dict(attrs).get("alt", self.alt)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_plain_text_has_no_backslash(text):
    assert in_block(text) == in_heading(text) == text
    assert in_cell(text) == text.replace("|", "\\|") and in_brackets(text) == text.replace("[", "\\[").replace("]", "\\]")


@pytest.mark.parametrize("text", BLOCKS)
def test_markup_has_a_backslash_where_markdown_would_read_it(text):
    assert in_block(text) == BLOCKS[text]


def test_the_place_decides():
    assert in_span("a*") == r"a\*" and in_span("`") == r"\`" and in_span(r"*a*") == r"\*a\*"  # the other one may stand in other words
    assert in_cell("# x") == in_heading("# x") == "# x" and in_cell("- x") == "- x" and in_cell("a|b") == r"a\|b" and in_heading("C #") == r"C \#"
    assert in_brackets("a] [b") == r"a\] \[b" and in_cell("a\\|b") == r"a\\\|b"


def test_any_text_is_shown_as_it_is():
    draw = random.Random(1)
    for text in (" ".join("".join(draw.choices(TEXTS, k=5)).split()) or "x" for _ in range(300)):
        for markdown, tags in ((in_block(text), ["p"]), (f"- {in_block(text)}", ["ul", "li"]), (f"## {in_heading(text)}", ["h2"])):
            shown = Shown(markdown)
            assert (shown.text, shown.tags) == (text, tags), markdown
        picture = Shown(f"![{in_brackets(text)}](a.png)")
        assert (picture.alt, picture.tags) == (text, ["p", "img"])
        row = Shown(f"| {in_cell(text)} | z |\n|--|--|\n")
        assert row.tags == ["table", "thead", "tr", "th", "th"] and row.text.split("\n") == [text, "z"]


def test_nothing_in_latex_is_a_command():
    assert latex_text.latex("a_b % & # { } ~ ^ \\ $") == (
        r"a\_b \% \& \# \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    assert latex_text.latex("<x> | \"`") == r"\textless{}x\textgreater{} \textbar{} \textquotedbl{}\textasciigrave{}"
    assert latex_text.latex("--jobs ''") == r"-{}-jobs '{}'" and latex_text.latex_code("'a'") == r"\textquotesingle{}a\textquotesingle{}"
    assert latex_text.latex("a\x00b\x07c\x1bd\ne\tf") == "a?b?c?d e f"
    assert latex_text.latex("[x] *") == "{[}x] {*}"  # the end of a row would take both for its own
    assert latex_text.latex("1\u00a0±\u00a0é 网 α") == r"1~\ensuremath{\pm}~é \otherletter{7F51} \ensuremath{\alpha}"


def test_columns_of_words_share_what_numbers_leave():
    narrow = pd.DataFrame({"method": ["snip"], "top-1": ["90.00"]})
    assert latex_text.columns(narrow, 1) == "lr" and not latex_text.is_long(narrow)
    wide = pd.DataFrame({"option": ["lr"], "value": ["x" * 200], "for": ["y" * 100], "n": ["3"]})
    widths = [float(part.split("cm")[0]) for part in latex_text.columns(wide, 3).split("p{")[1:]]
    assert widths[0] == latex_text.NARROWEST and widths[1] == pytest.approx(2 * widths[2], abs=0.02) and 14 < sum(widths) < latex_text.PAGE
    long = pd.DataFrame({"layer": ["l"] * 60} | {f"m{i}": ["1" * 12] * 60 for i in range(8)})
    assert latex_text.is_long(long) and (latex_text.size(long, 1), latex_text.size(long.iloc[:, :4], 1)) == ("scriptsize", "small")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that puts a program of some lines in the place of Chromium."""
    def make(*lines: str) -> None:
        path = tmp_path / "bin" / "a-browser"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(("#!/bin/sh", *lines)))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
        monkeypatch.setattr(print_pdf, "BROWSERS", ("a-browser",))

    return make


PRINT = 'for word; do case "$word" in --print-to-pdf=*) file=${word#*=};; file:*) page=${word#file://};; esac; done'


def save(folder: Path) -> str:
    return print_pdf.save_pdf("appendix", lambda: "<p>é</p>", lambda name, write: write(folder / name))


def test_a_browser_prints_the_page(program, tmp_path):
    program(PRINT, '{ printf "%%PDF /CreationDate (D:20260102030405+00) "; cat "$page"; } > "$file"')
    assert save(tmp_path) == ""
    assert (tmp_path / "appendix.pdf").read_text() == "%PDF /CreationDate (D:00000000000000+00) <p>é</p>"


@pytest.mark.parametrize(("lines", "reason"), [
    (["exit 3"], "a-browser ended with status 3"), (["exit 0"], "a-browser made none"), (["sleep 30"], "a-browser took longer than 0.3 s"),
    ([PRINT, 'echo no > "$file"'], "a-browser made none"),
])  # fmt: skip
def test_a_browser_that_fails_is_one_note(program, monkeypatch, tmp_path, lines, reason):
    program(*lines)
    monkeypatch.setattr(print_pdf, "SECONDS", 0.3)
    assert save(tmp_path) == f"NOTE: no appendix.pdf ({reason}): open appendix.html in a browser and print it, to get a PDF"
    assert not (tmp_path / "appendix.pdf").exists()


def test_without_a_browser_one_line_says_how(tmp_path):
    assert save(tmp_path) == "No appendix.pdf, as there is no Chromium on this machine: open appendix.html in a browser and print it, to get a PDF"
