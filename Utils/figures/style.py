"""Common style of all figures: colours, panels, and files that print well."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import Pruners
from Pruners import DENSE

# Okabe and Ito's colours, which people with any colour vision can distinguish. Each colour of a method has its own marker.
# Yellow is hard to see as a line on white, so it is only used to fill areas.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
PALE_BLUE = "#8FC1E3"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
VIRIDIS = colormaps["viridis"]
LATE = ListedColormap(VIRIDIS(np.linspace(0, 0.9, 256)))  # early to late; without yellow, which is hard to see on white
GREY, PALE, LIGHT, FAINT = "#808080", "#D0D0D0", "#E5E5E5", "#EFEFEF"
WIDTH, HEIGHT = 3.9, 3.5  # inches of one panel
SETTINGS = {"pdf.fonttype": 42, "svg.hashsalt": "figure"}  # text can be searched and edited; ids are the same each time
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
MANY = 12  # with more names than this below an axis, they stand upright
RESOLUTION = 200  # dots per inch of a PNG


@dataclass(frozen=True)
class Look:
    """The look of a pruning method in every figure."""

    colour: str
    marker: str

    def marked(self, size: float, hollow: bool = False) -> dict[str, object]:
        """Return the arguments of `Axes.plot` for markers of this look, `size` points wide.

        A star is drawn larger, as its points are thin.
        """
        return {
            "color": self.colour, "marker": self.marker, "markersize": size * (1.5 if self.marker == "*" else 1.0),
            "markerfacecolor": "white" if hollow else self.colour, "markeredgecolor": self.colour if hollow else "white",
            "markeredgewidth": 1.3 if hollow else 0.5,
        }  # fmt: skip

    def handle(self, hollow: bool = False, linestyle: str = "-") -> Line2D:
        """Make a line with a marker, for legends."""
        return Line2D([], [], linestyle=linestyle, linewidth=1.5, **self.marked(7, hollow))


INDIGO, WINE = "#332288", "#661100"  # dark colours of Tol's, for methods beyond those of the papers
NAMED = {
    DENSE: Look(BLACK, "*"), "rand": Look(ORANGE, "v"), "mag": Look(GREEN, "^"), "snip": Look(VERMILION, "s"),
    "grasp": Look(PURPLE, "D"), "synflow": Look(BLUE, "o"),
}  # fmt: skip
# For 64 further methods; a colour that is used again gets a marker that no named method has.
SPARE_COLOURS, SPARE_MARKERS = (SKY, INDIGO, WINE, *COLOURS[:5]), ("X", "P", "p", "<", ">", "h", "8", "d")
REMAINING = tuple(Look(SPARE_COLOURS[i % 8], SPARE_MARKERS[(i + i // 8) % 8]) for i in range(64))


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Return colour and marker of each method: fixed for the papers' five and for every other method of `Pruners/`.

    Further names get the remaining looks, in alphabetical order of `methods`.
    """
    known = [name for name in Pruners.names() if name not in NAMED]
    others = [*known, *sorted(set(methods) - set(known) - set(NAMED))]
    return NAMED | {name: REMAINING[index % len(REMAINING)] for index, name in enumerate(others)}


def in_order(methods: Iterable[str]) -> list[str]:
    """Return each method once, in the order of all legends and columns: dense, then those of the papers, then by name."""
    present, named = set(methods), list(NAMED)
    return [name for name in named if name in present] + sorted(present - set(named))


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], title: str = "") -> None:
    """Draw a legend below the panels, where it covers no data, in as many columns as fit; the figure grows by its height."""
    width = figure.get_figwidth()
    lines = [wrapped(label, width - 0.9, 9) for label in labels]
    inches = [0.08 * max(len(part) for part in line.split("\n")) + 0.62 for line in lines]
    fits = [n for n in range(1, len(lines) + 1) if sum(max(c) for c in np.array_split(inches, n)) < width]
    columns = max(fits, default=1)
    columns = math.ceil(len(lines) / math.ceil(len(lines) / columns)) if lines else 1  # full rows, none with a single name
    rows = max(sum(line.count("\n") + 1 for line in part) for part in np.array_split(np.array(lines, dtype=object), columns))
    figure.set_figheight(figure.get_figheight() + 0.19 * (rows + bool(title)) + 0.1)
    legend = figure.legend(handles, lines, loc="outside lower center", ncols=columns, fontsize=9, frameon=False,
                           title=title or None, title_fontsize=9, columnspacing=1.4)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of layers below an axis, one at each whole number; many stand upright."""
    axes.set_xticks(np.arange(len(names)), names, rotation=90 if len(names) > MANY else 45, fontsize=7)


def band_label(seeds: Iterable[int]) -> str:
    """Say in a legend what a band shows; `seeds` are the numbers of seeds of its points."""
    numbers = sorted(set(seeds))
    return f"min to max of {numbers[0]}" + (f" to {numbers[-1]} seeds" if len(numbers) > 1 else " seeds")


def make_panels(count: int, title: str, **sharing: bool) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels, up to three in a row, under a title."""
    columns = 2 if count == 4 else min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure((max(WIDTH * columns, 5.6), HEIGHT * rows + 0.6), layout="constrained")
    figure.suptitle(wrapped(title, figure.get_figwidth(), 11), fontsize=11, parse_math=False)
    axes = list(figure.subplots(rows, columns, squeeze=False, **sharing).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def label_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Set labels, a title and a faint grid."""
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.set_title(title, fontsize=11)
    axes.tick_params(labelsize=9)
    axes.grid(True, which="major", color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)


def draw(figure: Figure, file: Path, kind: str) -> None:
    """Write a figure in the format `kind`; the same figure gives the same bytes."""
    with rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in an unknown script is shown as boxes
        figure.savefig(file, format=kind, dpi=RESOLUTION, metadata=UNDATED.get(kind, {}))


def wrapped(title: str, inches: float, size: float) -> str:
    """Break a title of `size` points into as many lines as it needs in a figure of that width."""
    return "\n".join(textwrap.wrap(title, int(72 * inches / (0.56 * size)), break_on_hyphens=False))
