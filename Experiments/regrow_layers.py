"""Regrow-layers: spend the whole budget in one layer at a time, and compare the gain with the layer's SSIM."""

from __future__ import annotations

from functools import partial

from Utils.base.csv_files import read_csv
from Utils.base.text import counted
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.regrowth.layer_study import correlations, study, summary_of, verdict
from Utils.regrowth.start import budget, set_up_start
from Utils.regrowth.step import check_sources
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import once
from Utils.runs.stages import Stages
from Utils.studies.study import print_saved_study, print_study, save_study

EXPERIMENT = {
    "summary": "all of the budget to one layer at a time: does a layer's SSIM say what regrowing it brings?",
    "reads": ("regrowth", "regrow choice", "checkpoints"),
    "writes": ("regrow-layers.{csv,png,pdf}", "regrow-correlations.csv"),
    "kind": "study",
}

NAME, CORRELATIONS = "regrow-layers", "regrow-correlations"


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Regrow each layer alone, or print the results in the finished folder.

    Raises:
        Refused: no file was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    once(options, datasets, partial(_run, options), _print_saved)


def _print_saved(folder: RunFolder) -> None:
    print_saved_study(folder)
    print(read_csv(folder.path / f"{CORRELATIONS}.csv").to_string(index=False, float_format="%.4g"))


def _run(options: Options, folder: RunFolder, datasets: Datasets) -> None:
    from Utils.figures.regrowth import layers_figure

    opened, clock = set_up_start(options, datasets, folder.precision_on)
    count = budget(opened)
    check_sources(opened)
    stages = Stages(folder, options.checkpoint_every, clock)
    folder.begin(opened.device)
    print(
        f"Regrowing {count} weights in each of {len(opened.layers)} layers alone, "
        f"{counted(options.regrow_finetune_epochs, 'epoch')} of fine-tuning each, the control's too."
    )
    table, facts = study(opened, stages, clock, count)
    found = correlations(table)
    findings = [*summary_of(table), verdict(found)]
    print_study(table, findings)
    print(found.to_string(index=False, float_format="%.4g"))
    title = f"One layer at a time: {options.model}, {options.dataset}, {count} weights"
    results = {"findings": findings, "budget": count, "notes": opened.notes, **facts}
    save_study(folder, opened.device, {NAME: table, CORRELATIONS: found}, layers_figure(table, title), results)
