"""Scales of axes: round ticks on logarithmic ones, and a range that few values far from all others do not stretch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from Utils.figures.style import wrapped

FAR = 5.0  # times the range of the other values, from which values are far from these
LEAST_RANGE = 0.05  # of the size of the other values, which counts as their range if that is smaller
FEW = 0.25  # the largest share of values that may lie beyond an axis
NAMED = 3  # points beyond an axis that are named; of more, the number is
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(1 + k / 10 for k in range(90)))
LEAST = (4, 4, 3, 3, 3)  # ticks with each of these steps, with fewer of which the next steps are tried
MOST = 8  # ticks of a logarithmic axis
PLAIN = (1e-4, 1e6)  # numbers between these are written out


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis, three to eight of them."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps, least in zip(STEPS, LEAST, strict=True):
        ticks = [float(f"{step * 10.0**d:.6g}") for d in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= least:
            break
    return ticks[:: math.ceil(len(ticks) / MOST)]


def log_text(value: float) -> str:
    """Write a tick of a logarithmic axis: 0.2, 1, 20,000; very small and very large numbers as powers of ten."""
    if PLAIN[0] <= value < PLAIN[1]:
        return f"{value:,.6g}" if value < 1e3 else f"{value:,.0f}"
    power = math.floor(math.log10(value) + 1e-9)
    head = f"{value / 10.0**power:.3g}"
    return f"$10^{{{power}}}$" if head == "1" else f"${head}\\cdot10^{{{power}}}$"


def set_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis that goes from `low` to `high`."""
    ticks = log_ticks(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([log_text(tick) for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def main_range(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the smallest and the largest of `values` without a few that are far from all others; None if there are no such.

    The values beyond lie all on one side, past the widest gap.
    """
    ordered = np.sort(np.asarray([value for value in values if math.isfinite(value)], dtype=float))
    if len(ordered) < 2:
        return None
    gaps = np.diff(ordered)
    cut = int(gaps.argmax()) + 1
    below, above = ordered[:cut], ordered[cut:]
    kept, beyond = (below, above) if len(below) >= len(above) else (above, below)
    if len(beyond) > FEW * len(ordered) or gaps.max() <= FAR * max(np.ptp(kept), LEAST_RANGE * np.abs(kept).max()):
        return None
    return float(kept[0]), float(kept[-1])


def name_beyond(axes: Axes, points: Sequence[tuple[str, float]]) -> None:
    """Write below an axis that is cut which points it leaves out: (name, value) of each."""
    low, high = sorted(axes.get_ylim())
    beyond = [(name, value) for name, value in points if not low <= value <= high and math.isfinite(value)]
    if not beyond:
        return
    named = [f"{name} ({value:.4g})" for name, value in beyond[:NAMED]]
    named += [f"{len(beyond) - NAMED} more"] if len(beyond) > NAMED else []
    say_below(axes, f"The axis is cut; {'below' if beyond[0][1] < low else 'above'} it: {', '.join(named)}")


def say_below(axes: Axes, text: str) -> None:
    """Write a line below an axis and its label."""
    width = 0.85 * axes.get_figure().get_figwidth() * axes.get_position().width
    label = axes.get_xlabel()
    axes.set_xlabel("\n".join([label] * bool(label) + [wrapped(text, width, 8)]), fontsize=10 if label else 8, parse_math=False)
