"""The files of a report: HTML with its pictures inside, Markdown and LaTeX with pictures beside them, PNG, PDF and CSV."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from matplotlib import rc_context

from Utils.base.csv_files import write_csv
from Utils.base.files import writable
from Utils.figures.style import draw
from Utils.report import latex_text, markdown_text
from Utils.report.blocks import Document, Figure, Table
from Utils.report.plain_markdown import BOLD, CODE, ITALIC, Span
from Utils.runs.writer import KINDS

TEMPLATES = Path(__file__).parent / "templates"
PHONE, PIXELS, BETWEEN = 366, 6.5, 13  # pixels of a narrow screen's text, of a letter of a table, and between two columns
PAPER = {"low": 5.0, "middle": 7.5}  # inches of a picture's height, below which it has this class (see report.css)
WIDE = 1.9  # width over height from which a narrow screen scrolls a picture instead of shrinking it


def html(document: Document) -> str:
    """Return the report as one self-contained HTML file: style and pictures are inside, text is escaped."""
    return writable(_environment(autoescape=True).get_template("report.html.j2").render(document=document))


def markdown(document: Document) -> str:
    """Return the same text as Markdown, with links to the files in `figures/` and `tables/`."""
    environment = _environment()
    environment.filters |= {
        "md": markdown_text.in_block, "heading": markdown_text.in_heading, "mdcell": markdown_text.in_cell,
        "brackets": markdown_text.in_brackets, "code": _code, "md_span": _span,
    }  # fmt: skip
    return _joined(environment.get_template("report.md.j2").render(document=document))


def latex(document: Document) -> str:
    """Return the same text as LaTeX, with the PDF files in `figures/`."""
    environment = _environment(block_start_string="<%", block_end_string="%>", variable_start_string="<<",
                               variable_end_string=">>", comment_start_string="<#", comment_end_string="#>")  # fmt: skip
    environment.filters |= {
        "tex_span": _latex_span,
        "tex": latex_text.latex, "texcode": latex_text.latex_code, "picture_file": _picture_file, "width": _width,
        "columns": lambda table: latex_text.columns(table.text, table.words),
        "size": lambda table: latex_text.size(table.text, table.words), "long": lambda table: latex_text.is_long(table.text),
    }  # fmt: skip
    return _joined(environment.get_template("report.tex.j2").render(document=document))


def _joined(text: str) -> str:
    """Return a text without several empty lines after each other."""
    return writable(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def save_figure(figure: Figure, write: Callable[[str, Callable[[Path], Any]], None]) -> None:
    """Write a figure as `figures/NAME.png` and `figures/NAME.pdf`."""
    for kind in KINDS:
        if figure.drawing is not None:
            write(f"figures/{figure.name}.{kind}", lambda file, kind=kind: draw(figure.drawing, file, kind))
        elif kind in figure.files:
            write(f"figures/{figure.name}.{kind}", lambda file, kind=kind: shutil.copyfile(figure.files[kind], file))


def save_table(table: Table, file: Path) -> None:
    """Write a table as CSV, in which a spreadsheet sees no formula."""
    write_csv(table.text if table.data is None else table.data, file)


def _environment(**words: Any) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, **words
    )
    environment.filters |= {"kind": lambda block: type(block).__name__, "cell": _cell}
    environment.globals |= {"picture": picture, "is_wide": is_wide, "is_long": latex_text.is_long, "on_paper": on_paper,
                            "scrolls": scrolls}  # fmt: skip
    return environment


def _picture_file(figure: Figure) -> str:
    """Name the file in `figures/` that LaTeX shows: the PDF, else the PNG; empty if there is neither."""
    kinds = KINDS if figure.drawing is not None else [kind for kind in KINDS if kind in figure.files]
    return f"{figure.name}.{'pdf' if 'pdf' in kinds else kinds[0]}" if kinds else ""


def _width(figure: Figure) -> str:
    """Return the width of a picture in LaTeX: its own, up to that of the text."""
    inches = figure.drawing.get_figwidth() if figure.drawing is not None else latex_text.PAGE
    return f"{inches:.2f}in" if inches < latex_text.PAGE / 2.54 else r"\linewidth"


def _span(span: Span) -> str:
    """Write words of an author as Markdown, in their look."""
    if span.look == CODE and "`" not in span.text:
        return f"`{' '.join(span.text.split())}`"
    mark = {BOLD: "**", ITALIC: "*"}.get(span.look, "")
    before, after = (" " * (part != span.text) for part in (span.text.lstrip(), span.text.rstrip()))
    return f"{before}{mark}{markdown_text.in_span(span.text)}{mark}{after}" if span.text.strip() else " "


def _latex_span(span: Span) -> str:
    """Write words of an author as LaTeX, in their look."""
    if span.look == CODE:
        return rf"\texttt{{{latex_text.latex_code(span.text)}}}"
    command = {BOLD: r"\textbf", ITALIC: r"\textit"}.get(span.look)
    before, after = (" " * (part != span.text) for part in (span.text.lstrip(), span.text.rstrip()))
    text = latex_text.latex(span.text)
    return f"{before}{f'{command}{{{text}}}' if command else text}{after}"


def _code(value: str) -> str:
    """Put a command on one line of an indented block; a lone carriage return counts as a line break too."""
    return re.sub(r"[\r\n]", " ", value)


def _cell(value: Any) -> str:
    """Return a value as the text of a table's cell."""
    return "" if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)


def is_wide(figure: Figure) -> bool:
    """Tell whether a picture is so much wider than high that a narrow screen would make its text too small."""
    return figure.drawing is not None and figure.drawing.get_figwidth() > WIDE * figure.drawing.get_figheight()


def on_paper(figure: Figure) -> str:
    """Return the class of a picture that may be smaller on paper than on a screen: `low` or `middle`; empty for a tall one."""
    height = figure.drawing.get_figheight() if figure.drawing is not None else 0.0
    return next((name for name, below in PAPER.items() if 0 < height < below), "")


def scrolls(table: Table) -> bool:
    """Tell whether a table is wider than a phone's screen even where each cell is broken at its spaces."""
    words = ([len(w) for text in (name, *table.text.iloc[:, i]) for w in re.split("[ \n]", str(text))]
             for i, name in enumerate(table.text.columns))  # fmt: skip
    return sum(PIXELS * max(column) + BETWEEN for column in words) > PHONE


def picture(figure: Figure) -> Markup:
    """Return the picture as an element of a page, with its description.

    Drawings are inline SVG. A file that a run saved is used as PNG, since an SVG file from an unknown source could hold anything.
    """
    if figure.drawing is not None:
        return _svg(figure)
    if "png" in figure.files:
        data = base64.b64encode(figure.files["png"].read_bytes()).decode()
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(Markup(data), figure.description)
    return Markup("<p>{}</p>").format(figure.description)


def _svg(figure: Figure) -> Markup:
    """Return inline SVG that scales, with letters as text and with ids that are unique on the page."""
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        draw(figure.drawing, buffer, "svg")
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    own = re.sub(r"[^a-z0-9]+", "-", figure.name)
    text = re.sub(r'\b(id="|url\(#|xlink:href="#)', rf"\g<1>{own}-", text)
    opening = text[: text.index(">") + 1]
    size = re.search(r'width="([\d.]+)pt"', opening)
    box = re.search(r'viewBox="[^"]*"', opening)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    tag = (
        f'<svg {spaces} {box.group() if box else ""} role="img" aria-label="{escape(figure.description)}" '
        f'style="max-width:{size.group(1) if size else 600}pt">'
    )
    return Markup(tag + f"<title>{escape(figure.description)}</title>" + text[len(opening) :])
