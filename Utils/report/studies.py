"""What else runs hold: levels of multishot, ablations, studies of conservation."""

from __future__ import annotations

import pandas as pd

from Utils.report.blocks import Block, Figure, Note, Section, Table, slug
from Utils.report.groups import Group, nearest
from Utils.report.results import described
from Utils.report.runs import Collection, Run
from Utils.tables import read_table

ABLATIONS = {"shuffle": "shuffled masks", "reinitialize": "weights drawn anew", "invert": "inverted scores"}


def levels(groups: list[Group]) -> Section | None:
    """The levels of multishot runs: density and accuracy after each."""
    section = Section("Levels")
    for group in groups:
        for run in (r for r in group.runs if r.done and r.file("levels.csv")):
            section.blocks += _levels(group, run)
    return section if section.blocks else None


def _levels(group: Group, run: Run) -> list[Block]:
    try:
        table = read_table(run.folder / "levels.csv")
    except (ValueError, OSError):
        return []
    words = f"{run['pruner']} to compression {float(run['compression']):.6g}, seed {run['seed']}"
    caption = f"{group.label}, {words}: density and accuracy of every level. {group.recipe.capitalize()}; n = 1."
    text = table.map(lambda v: f"{v:.6g}" if isinstance(v, float) else str(v))
    return [Table(slug("levels", run["pruner"], group.label, run["seed"]), caption, text, table)]


def ablations(groups: list[Group]) -> Section | None:
    """By how much the accuracy changes with shuffled masks, new weights or inverted scores, seed by seed."""
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
    """Whether `one` is what `other` is without the ablation `options`."""
    return bool(options) and all(not one.key[n] if n in options else one.key[n] == other.key[n] for n in other.key)


def _deltas(group: Group, plain: Group) -> pd.DataFrame:
    keys = ["pruner", "compression", "seed"]
    pair = group.table[[*keys, "accuracy"]].merge(plain.table[[*keys, "accuracy"]], on=keys, suffixes=("", "_plain")).dropna()
    pair = pair[pair["pruner"] != "dense"]
    if pair.empty:
        return pd.DataFrame()
    pair["change"] = pair["accuracy"].astype(float) - pair["accuracy_plain"].astype(float)
    found = pair.groupby(["pruner", "compression"], sort=False)["change"].agg(change="mean", deviation="std", n="count")
    return found.reset_index()


def studies(collection: Collection) -> Section | None:
    """Studies of conservation and of regrowth: their figures and findings."""
    section = Section("Studies")
    for run in collection.studies:
        files = {kind: path for kind in ("png", "pdf") if (path := run.file(f"{run['experiment']}.{kind}"))}
        model = f"{run['model_class']} {run['model']}, seed {run['seed']}"
        lines = [str(line) for line in run.summary.get("findings", [])]
        if "png" in files:
            caption = f"{run['experiment']} of {model}."
            name = slug(run["experiment"], run["expid"])
            description = f"The figure of {run['experiment']}; the findings are below."
            section.blocks.append(Figure(name, caption, description, files=files))
        section.blocks += [Note(" ".join(lines))] if lines else []
    return section if section.blocks else None
