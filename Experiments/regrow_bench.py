"""Regrow-bench: time regrowth by reference and by saliency, phase by phase."""

from __future__ import annotations

from functools import partial

from Utils.base.errors import Refused
from Utils.compute.environment import environment
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.regrowth.bench import by_phase, findings_of, time_methods
from Utils.regrowth.start import budget, set_up_start
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import once
from Utils.studies.study import print_saved_study, print_study, save_study

EXPERIMENT = {
    "summary": "seconds of regrowth by reference and by saliency, phase by phase",
    "reads": ("regrowth", "regrow mini", "regrow bench"),
    "own": {"regrow_fraction": 0.01},
    "writes": ("regrow-bench.{csv,png,pdf,json}", "regrow-bench-runs.csv"),
    "kind": "study",
}

NAME = "regrow-bench"


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Time both methods `--regrow-repeats` times, or print the results in the finished folder.

    Raises:
        Refused: no file was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    once(options, datasets, partial(_run, options), print_saved_study)


def _run(options: Options, folder: RunFolder, datasets: Datasets) -> None:
    from Utils.figures.regrowth import bench_figure

    opened, _ = set_up_start(options, datasets, folder.precision_on)
    count = budget(opened)
    if opened.dense is None:
        raise Refused(f"--experiment {NAME} needs --regrow-dense FILE, the trained dense network that both methods look at")
    folder.begin(opened.device)
    print(f"Timing the regrowth of {count} of {opened.size} weights, {options.regrow_repeats} times, on {opened.device}.")
    times = time_methods(opened, count)
    table = by_phase(times)
    findings = findings_of(table, count)
    print_study(table, findings)
    title = f"Seconds of regrowth: {options.model}, {options.dataset}, {count} weights, {opened.device.type}"
    columns = table[["method", "phase", "mean", "std"]].itertuples(index=False)
    means = {f"{method} {phase}": {"mean": mean, "std": std} for method, phase, mean, std in columns}
    facts = {"budget": count, "repeats": options.regrow_repeats, "seconds_by_phase": means, "findings": findings}
    folder.write_json(f"{NAME}.json", facts | environment(opened.device))
    save_study(folder, opened.device, {NAME: table, f"{NAME}-runs": times}, bench_figure(table, title), facts)
