"""The section on ablations: the effects of shuffled masks, new weights and inverted scores."""

from __future__ import annotations

import pandas as pd

from Pruners import DENSE
from Utils.report.blocks import Section, Table, slug
from Utils.report.captions import described
from Utils.report.groups import Group, nearest
from Utils.report.recipes import ABLATIONS


def ablations(groups: list[Group]) -> Section | None:
    """Make the section: the change of accuracy by shuffled masks, new weights or inverted scores, seed by seed."""
    section = Section("Ablations")
    for group in groups:
        changed = [option for option in ABLATIONS if group.key.get(option)]
        plain = nearest(group, [g for g in groups if _differs_in(g, group, changed)])
        table = _deltas(group, plain) if len(changed) == 1 and plain else pd.DataFrame()
        if not table.empty:
            caption = (
                f"{group.label} against {plain.label}: change of the last top-1 accuracy (points), seed by seed, mean and "
                f"standard deviation over seeds. {described(group)}"
            )
            text = table.map(lambda v: f"{v:.2f}" if isinstance(v, float) else str(v)).replace("nan", "one seed")
            section.blocks.append(Table(slug("ablation", changed[0], group.label), caption, text, table))
    return section if section.blocks else None


def _differs_in(one: Group, other: Group, options: list[str]) -> bool:
    """Tell whether `one` equals `other` without the ablation `options`."""
    return bool(options) and all(not one.key[n] if n in options else one.key[n] == other.key[n] for n in other.key)


def _deltas(group: Group, plain: Group) -> pd.DataFrame:
    keys = ["pruner", "compression", "seed"]
    pair = group.table[[*keys, "accuracy"]].merge(plain.table[[*keys, "accuracy"]], on=keys, suffixes=("", "_plain")).dropna()
    pair = pair[pair["pruner"] != DENSE]
    if pair.empty:
        return pd.DataFrame()
    pair["change"] = pair["accuracy"].astype(float) - pair["accuracy_plain"].astype(float)
    found = pair.groupby(["pruner", "compression"], sort=False)["change"].agg(change="mean", deviation="std", n="count")
    return found.reset_index()
