"""The balance of scores over layers and units: the numbers of the conservation studies and of their figures."""

from __future__ import annotations

import numpy as np
import pandas as pd


def fit(table: pd.DataFrame) -> tuple[float, float]:
    """Fit the line log10(average_score) = slope * log10(size) + intercept by least squares; return (slope, intercept).

    If all layers have the same total, the slope is -1. Layers whose average is zero or not finite are left out; without two
    different sizes both are NaN.
    """
    size, average = table["size"].to_numpy(float), table["average_score"].to_numpy(float)
    usable = (average > 0) & np.isfinite(average)
    if len(set(size[usable])) < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(np.log10(size[usable]), np.log10(average[usable]), 1)
    return float(slope), float(intercept)


def relative_difference(table: pd.DataFrame) -> pd.Series:
    """Return |in - out| / max(|in|, |out|) of each unit, from 0 to 2; 0 where both are zero."""
    larger = table[["in_score", "out_score"]].abs().max(axis=1)
    return ((table["in_score"] - table["out_score"]).abs() / larger).where(larger > 0, 0.0)
