"""The section on studies: figures and findings of the studies of conservation and of regrowth."""

from __future__ import annotations

from Utils.report.blocks import Figure, Note, Section, slug
from Utils.report.captions import rounds_in
from Utils.report.collect import Collection
from Utils.report.report_run import Run


def studies(collection: Collection) -> Section | None:
    """Make the section: the figures and findings of the studies of conservation and of regrowth."""
    section = Section("Studies")
    for run in collection.studies:
        files = run.pictures(str(run["experiment"]))
        model = f"{run['model_class']} {run['model']}, seed {run['seed']}"
        lines = [str(line) for line in run.summary.get("findings", [])]
        if "png" in files:
            caption = f"{run['experiment']} of {model}{_rounds(run)}."
            name = slug(run["experiment"], run["expid"])
            description = f"The figure of {run['experiment']}; the findings are below."
            section.blocks.append(Figure(name, caption, description, files=files))
        section.blocks += [Note(" ".join(lines))] if lines else []
    return section if section.blocks else None


def _rounds(run: Run) -> str:
    """Name the rounds of a study's iterative methods; at density 1, scores are the same in every round."""
    if "prune_epochs" not in run.options or run["experiment"] == "schedule-conservation":  # it compares rounds, and says so
        return ""
    rounds = run["prune_epochs"] or (1 if run["density"] == 1 else None)
    found = rounds_in({"pruner": pruner, "prune_epochs": rounds} for pruner in run["pruner_list"] or [run["pruner"]])
    return f"; {found}" if found else ""
