"""FLOPs: counts, shares of the dense network, and the effective density."""

from __future__ import annotations

from Utils.report import findings
from Utils.report.blocks import Section, Table, slug
from Utils.report.captions import compression_curves, described, sentences
from Utils.report.groups import Group
from Utils.report.pivot import pivot, plus_minus
from Utils.runs.summary_keys import report_columns


def flops(groups: list[Group]) -> Section | None:
    """Make the section: FLOPs for one image, their share of the dense network, and the effective density if it differs."""
    section, label = Section("FLOPs"), report_columns()["flops_kept"][1].label
    for group in (g for g in groups if any(run.done for run in g.runs or g.dense)):
        total = group.table["flops_total"].dropna()
        counted = f"of {int(total.iloc[0]):,} of the dense network" if len(total) else ""
        caption = f"{group.label}: {label} {counted}, weights, biases and BatchNorm counted"
        name = slug("flops", group.label)
        section.blocks.append(pivot(group, "flops_kept", name, f"{caption}. {described(group, False)}", dense=False))
        ratio = f"{group.label}: the same as a share of the dense network. {described(group, False)}"
        name = slug("flop-ratio", group.label)
        section.blocks.append(pivot(group, "flops_ratio", name, ratio, plus_minus(4), dense=False))
        section.blocks += compression_curves(group, "flops_ratio", name, "share of the dense FLOPs", log=True)
        if effective := _effective(group):
            section.blocks.append(effective)
        section.blocks += sentences(findings.flops(group))
    return section if section.blocks else None


def _effective(group: Group) -> Table | None:
    """Return a table of the effective density, if any network has weights that touch dead units."""
    table = group.table.dropna(subset=["effective_density", "density"])
    if table.empty or not (table["density"] - table["effective_density"] > 5e-7).any():
        return None
    label = report_columns()["effective_density"][1].label
    caption = f"{group.label}: {label}. {described(group, False)}"
    return pivot(group, "effective_density", slug("effective-density", group.label), caption, dense=False)
