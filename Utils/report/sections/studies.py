"""The section on studies: figures and findings of the studies of conservation and of regrowth."""

from __future__ import annotations

from Utils.report.blocks import Figure, Note, Section, slug
from Utils.report.collect import Collection


def studies(collection: Collection) -> Section | None:
    """Make the section: the figures and findings of the studies of conservation and of regrowth."""
    section = Section("Studies")
    for run in collection.studies:
        files = run.pictures(str(run["experiment"]))
        model = f"{run['model_class']} {run['model']}, seed {run['seed']}"
        lines = [str(line) for line in run.summary.get("findings", [])]
        if "png" in files:
            caption = f"{run['experiment']} of {model}."
            name = slug(run["experiment"], run["expid"])
            description = f"The figure of {run['experiment']}; the findings are below."
            section.blocks.append(Figure(name, caption, description, files=files))
        section.blocks += [Note(" ".join(lines))] if lines else []
    return section if section.blocks else None
