"""Command lines that ask for something odd: for each its exit status, and words of the one line on standard error (status 0: of
standard output).

The folder that they run in is made by `tests/bad_input_files.py`. Every line with status 2 must write nothing.
Each module has the lines of one subject; `TOPICS` has all of them.
"""

from __future__ import annotations

from bad_inputs.datasets import DATASETS
from bad_inputs.files import FILES, MODELS
from bad_inputs.flags import CONTRADICTIONS, FLAGS
from bad_inputs.grids import FOR, LISTS
from bad_inputs.saved_runs import RUNS
from bad_inputs.studies import PRESETS, STUDIES
from bad_inputs.values import NAMES, NUMBERS

TOPICS = {
    "flags": FLAGS, "numbers": NUMBERS, "contradictions": CONTRADICTIONS, "lists": LISTS, "for": FOR, "names": NAMES,
    "models": MODELS, "files": FILES, "datasets": DATASETS, "runs": RUNS, "presets": PRESETS, "studies": STUDIES,
}  # fmt: skip
