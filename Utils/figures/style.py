"""What all figures share: colours, panels, and files that print well."""

from __future__ import annotations

import math
import textwrap
import warnings
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from Utils.files import atomic

# Okabe and Ito's colours, which people with any colour vision can tell apart. Those of methods have a marker of their own;
# yellow, which is lost on white as a line, fills only.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
PALE_BLUE = "#8FC1E3"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
VIRIDIS = colormaps["viridis"]
LATE = ListedColormap(VIRIDIS(np.linspace(0, 0.9, 256)))  # early to late; without the yellow that is lost on white
GREY, PALE, LIGHT, FAINT = "#808080", "#D0D0D0", "#E5E5E5", "#EFEFEF"
WIDTH, HEIGHT = 3.9, 3.5  # inches of one panel
SETTINGS = {"pdf.fonttype": 42, "svg.hashsalt": "figure"}  # letters can be searched and edited; the same ids each time
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
RESOLUTION = 200  # dots per inch of a PNG


def make_panels(count: int, title: str, **sharing: bool) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, up to three in a row, under a title."""
    columns = 2 if count == 4 else min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure((max(WIDTH * columns, 5.6), HEIGHT * rows + 0.6), layout="constrained")
    figure.suptitle(wrapped(title, figure.get_figwidth(), 11), fontsize=11, parse_math=False)
    axes = list(figure.subplots(rows, columns, squeeze=False, **sharing).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def label_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Labels, a title and a faint grid."""
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.set_title(title, fontsize=11)
    axes.tick_params(labelsize=9)
    axes.grid(True, which="major", color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)


def save_figure(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf, each whole or not at all; the same figure gives the same bytes.

    Raises:
        RunFailed: it cannot be written.
    """
    for kind in ("png", "pdf"):
        with atomic(path.with_name(f"{path.name}.{kind}")) as temporary:
            draw(figure, temporary, kind)


def draw(figure: Figure, file: Path, kind: str) -> None:
    """Write a figure in the format `kind`; the same figure gives the same bytes."""
    with rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in other letters is shown as boxes
        figure.savefig(file, format=kind, dpi=RESOLUTION, metadata=UNDATED.get(kind, {}))


def wrapped(title: str, inches: float, size: float) -> str:
    """A title of `size` points on as many lines as it needs in a figure of that width."""
    return "\n".join(textwrap.wrap(title, int(72 * inches / (0.56 * size)), break_on_hyphens=False))
