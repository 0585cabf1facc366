"""Inference time: the ratio to the dense network beside each run, and the seconds for the test set."""

from __future__ import annotations

from Utils.report import findings
from Utils.report.blocks import Section, slug
from Utils.report.captions import compression_curves, described, sentences
from Utils.report.groups import Group
from Utils.report.pivot import pivot
from Utils.report.times import load_of
from Utils.runs.summary_keys import report_columns

MASKED = "Masks do not change dense kernels: times of masked networks differ by chance alone."
DIFFERENT = "The seconds of two cells are of different runs and compare only as far as the machine was equally free."


def inference(groups: list[Group]) -> Section | None:
    """Make the section, a table per network and dataset: ratios to the dense network first, seconds for the test set second."""
    section, label = Section("Inference time"), report_columns()["inference_ratio"][1].label
    for group in (g for g in groups if g.trained and g.table["inference_seconds"].notna().any()):
        measured, name = _measured(group), slug("inference", group.label)
        if group.table["inference_ratio"].notna().any():
            ratio = slug("inference-ratio", group.label)
            section.blocks.append(pivot(group, "inference_ratio", ratio, f"{group.label}: {_ratio(group)} {measured}"))
            section.blocks += compression_curves(group, "inference_ratio", ratio, label)
        seconds = f"{group.label}: seconds for one pass over the test set, the median of up to five. {DIFFERENT} {measured}"
        section.blocks.append(pivot(group, "inference_seconds", name, seconds))
        section.blocks += sentences(findings.inference(group))
    return section if section.blocks else None


def _ratio(group: Group) -> str:
    n = {times["repeats"] for run in group.all if (times := run.summary.get("inference") or {}).get("ratio")}
    pairs = f" of {' or '.join(map(str, sorted(n)))} pairs, with quartiles" if n else " of the two medians"
    seeds = "; over several seeds, means of these" if group.table.duplicated(["pruner", "compression"]).any() else ""
    return (
        "inference time of a network over that of its own dense network. Batches of the two took turns in one process: the median"
        f"{pairs}{seeds}. The dense run beside a dense network shows the noise."
    )


def _measured(group: Group) -> str:
    found = [run.summary["inference"] for run in group.all if (run.summary.get("inference") or {}).get("total_seconds")]
    devices = dict.fromkeys(str(times.get("device")) for times in found)
    batch = dict.fromkeys(str(times.get("batch_size")) for times in found)
    jobs = max((times.get("jobs") or 0 for times in found), default=0)
    at_once = f" Up to {jobs} cells ran at once, which disturbs times." if jobs else ""
    masked = "" if group.key.get("compact") else f" {MASKED}"
    load = f" {said}" if (said := load_of(group.all, "inference")) else ""
    where = f"Data on the device, model alone: {' or '.join(devices)}, batches of {' or '.join(batch)}; "
    return f"{where}{described(group, False).lower()}{masked}{at_once}{load}"
