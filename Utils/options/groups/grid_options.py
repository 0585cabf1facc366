"""The options of grids and assignments: lists of values, and the way in which cells run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import Pruners
from Utils.options.flags import COMPRESSION, COUNT, DENSITY, LARGE, POSITIVE, SPARSITY, Pair, integer, number
from Utils.options.groups.regrowth_options import ALLOCATIONS, INITS, SELECTIONS
from Utils.options.option import Use, option
from Utils.options.override_text import override

ABLATIONS = {"none": None, "shuffle": "shuffle", "reinit": "reinitialize", "invert": "invert"}  # word -> option it turns on


def _runs_here(command: Any) -> bool:
    return bool(getattr(command, "cells", ())) and command.launcher == "local"


HERE = "grids that run here, without Slurm"
PROCESSES = Use(HERE, lambda command: command.jobs == 1 or _runs_here(command), of_command=True)
AT_ONCE = Use(HERE, lambda command: command.stack == 1 or _runs_here(command), of_command=True)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class GridOptions:
    """The options of grids and assignments."""

    preset: str | None = option("assignment", "an assignment: a name in Experiments/presets, or a file of your own, FILE.toml")
    scale: float = option(
        "assignment", "factor on the preset's epochs, of which at least one stays", 1.0, number(above=0, high=1000)
    )
    set: Sequence[tuple[str, str]] = option(
        "assignment",
        "new values of the preset's options, as post-epochs=10; beside it, --dataset OLD=NEW replaces one of its datasets",
        (),
        Pair("post-epochs=10"),
        nargs="+",
        late=True,
    )
    model_list: Sequence[str] = option("lists", "networks", (), nargs="+", axis="model")
    pruner_list: Sequence[str] = option(
        "pruner list", "pruning methods", (), Pruners.spelt, choices=Pruners.names, nargs="+", axis="pruner", common=True
    )
    compression_list: Sequence[float] = option(
        "schedule lists", "compressions", (), COMPRESSION, nargs="+", axis="compression", common=True
    )
    density_list: Sequence[float] = option("lists", "densities", (), DENSITY, nargs="+", axis="density")
    sparsity_list: Sequence[float] = option("lists", "sparsities", (), SPARSITY, nargs="+", axis="sparsity")
    prune_epoch_list: Sequence[int] = option("schedule lists", "rounds of scoring", (), POSITIVE, nargs="+", axis="prune_epochs")
    level_list: Sequence[int] = option(
        "levels", "numbers of levels, each level a training and a pruning", (), integer(1, 1000), nargs="+", axis="level"
    )
    ablate: Sequence[str] = option(
        "lists",
        "each cell as it is, with shuffled masks, new weights, inverted scores",
        (),
        choices=tuple(ABLATIONS),
        nargs="+",
        axis="ablate",
    )
    seed_list: Sequence[int] = option("seed list", "seeds", (), LARGE, nargs="+", axis="seed", common=True)
    overrides: Sequence[tuple[str, str, str | None]] = option(
        "overrides",
        "an option for some cells of a pruner, as mag:pre-epochs=200 or snip@compression=1:save-trace",
        (),
        override,
        nargs="+",
        key="for",
    )
    jobs: int = option(
        "grid",
        "processes that run cells, in turn on the CUDA devices there are",
        1,
        integer(1, 1024),
        common=True,
        use=PROCESSES,
    )
    stack: int | None = option(
        "stacks",
        "cells that a process trains at once, with the same numbers; on a CPU networks like fc only; default: 8 on a GPU, else 1",
        None,
        integer(1, 64),
        late=True,
        use=AT_ONCE,
    )
    dry_run: bool = option("grid", "print the cells and what is done; run and write nothing", False, None)
    launcher: str = option("grid", "where cells run", "local", choices=("local", "slurm"))
    slurm_partition: str | None = option("grid", "partition of the job array")
    slurm_time: int = option("grid", "minutes of a cell's job; a longer cell goes on in further jobs", 720, POSITIVE)
    slurm_memory: str | None = option("grid", "memory of a cell, such as 16GB")
    slurm_gpus: int = option("grid", "GPUs of a cell", 0, COUNT)
    slurm_cpus: int = option("grid", "CPU cores of a cell", 1, POSITIVE)
    slurm_option: Sequence[tuple[str, str]] = option(
        "grid", "any other of sbatch's options, as account=vision", (), Pair("account=vision"), nargs="+"
    )
    regrow_allocation_list: Sequence[str] = option(
        "regrow lists", "allocations", (), choices=ALLOCATIONS, nargs="+", axis="regrow_allocation"
    )
    regrow_selection_list: Sequence[str] = option(
        "regrow lists", "selections", (), choices=SELECTIONS, nargs="+", axis="regrow_selection"
    )
    regrow_init_list: Sequence[str] = option("regrow lists", "initial values", (), choices=INITS, nargs="+", axis="regrow_init")
