"""The files of a report: HTML with its pictures inside, Markdown with pictures beside it, PNG, PDF and CSV."""

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
from Utils.report.blocks import Document, Figure, Table
from Utils.report.plain_markdown import BOLD, CODE, ITALIC, Span
from Utils.runs.writer import KINDS

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")
WIDE = 1.9  # width over height from which a narrow screen scrolls a picture instead of shrinking it


def html(document: Document) -> str:
    """Return the report as one self-contained HTML file: style and pictures are inside, text is escaped."""
    return writable(_environment(True).get_template("report.html.j2").render(document=document))


def markdown(document: Document) -> str:
    """Return the same text as Markdown, with links to the files in `figures/` and `tables/`."""
    text = _environment(False).get_template("report.md.j2").render(document=document)
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


def _environment(escaped: bool) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=escaped, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"kind": lambda block: type(block).__name__, "md": _plain_markdown, "cell": _cell, "code": _code,
                            "md_span": _span}  # fmt: skip
    environment.globals |= {"picture": picture, "is_wide": is_wide}
    return environment


def _plain_markdown(value: Any) -> str:
    """Escape text so that it contains no markup, on one line."""
    return MARKDOWN.sub(r"\\\1", " ".join(str(value).split())).replace("<", "&lt;").replace(">", "&gt;")


def _span(span: Span) -> str:
    """Write words of an author as Markdown, in their look."""
    if span.look == CODE and "`" not in span.text:
        return f"`{' '.join(span.text.split())}`"
    mark = {BOLD: "**", ITALIC: "*"}.get(span.look, "")
    before, after = (" " * (part != span.text) for part in (span.text.lstrip(), span.text.rstrip()))
    return f"{before}{mark}{_plain_markdown(span.text)}{mark}{after}" if span.text.strip() else " "


def _code(value: str) -> str:
    """Put a command on one line of an indented block; a lone carriage return counts as a line break too."""
    return re.sub(r"[\r\n]", " ", value)


def _cell(value: Any) -> str:
    """Return a value as the text of a table's cell."""
    return "" if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)


def is_wide(figure: Figure) -> bool:
    """Tell whether a picture is so much wider than high that a narrow screen would make its text too small."""
    return figure.drawing is not None and figure.drawing.get_figwidth() > WIDE * figure.drawing.get_figheight()


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
