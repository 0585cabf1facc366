"""Inference time: seconds for the test set."""

from __future__ import annotations

from Utils.report import findings
from Utils.report.blocks import Section, slug
from Utils.report.captions import compression_curves, described, sentences
from Utils.report.groups import Group
from Utils.report.pivot import pivot
from Utils.runs.summary_keys import report_columns

MASKED = "Masks do not change dense kernels: times of masked networks differ by chance alone."


def inference(groups: list[Group]) -> Section | None:
    """Make the section: seconds for the whole test set, a table per network and dataset."""
    section, label = Section("Inference time"), report_columns()["inference_seconds"][1].label
    for group in (g for g in groups if g.trained and g.table["inference_seconds"].notna().any()):
        caption = f"{group.label}: seconds for one pass over the test set, data on the device, model alone. {_measured(group)}"
        name = slug("inference", group.label)
        section.blocks.append(pivot(group, "inference_seconds", name, caption))
        section.blocks += compression_curves(group, "inference_seconds", name, label)
        section.blocks += sentences(findings.inference(group))
    return section if section.blocks else None


def _measured(group: Group) -> str:
    found = [run.summary["inference"] for run in group.all if (run.summary.get("inference") or {}).get("total_seconds")]
    devices = dict.fromkeys(str(times.get("device")) for times in found)
    batch = dict.fromkeys(str(times.get("batch_size")) for times in found)
    jobs = max((times.get("jobs") or 0 for times in found), default=0)
    at_once = f" Up to {jobs} cells ran at once, which disturbs times." if jobs else ""
    masked = "" if group.key.get("compact") else f" {MASKED}"
    where = f"{' or '.join(devices)}, batches of {' or '.join(batch)}; the median of up to five passes per network, "
    return f"{where}{described(group, False).lower()}{masked}{at_once}"
