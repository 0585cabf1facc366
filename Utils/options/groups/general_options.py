"""The options of every command: the experiment, the run's folder, the seed and the device."""

from __future__ import annotations

from dataclasses import dataclass

from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.flags import COUNT, LARGE
from Utils.options.option import Use, option
from Utils.options.parts import Affects


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class GeneralOptions:
    """The options of the experiment, the run's folder, the seed and the device."""

    experiment: str = option(
        "always", "what to do (see --list experiments)", DEFAULT, choices=lambda: tuple(EXPERIMENTS), common=True
    )
    expid: str = option("save", "name of the run's folder; default: made from the options", "", str, common=True)
    result_dir: str = option("save", "where run folders are made", "Results/data")
    no_save: bool = option("save", "write nothing", False, None)
    overwrite: bool = option(
        "save",
        "start afresh where the folder exists",
        False,
        None,
        use=Use("runs that are saved", lambda o: not o.no_save),
    )
    seed: int = option("seed", "seed of every random number", 1, LARGE, paces=True, common=True)
    gpu: int | None = option("device", "number of the CUDA device; default: the first one", None, COUNT)
    no_cuda: bool = option("device", "use the CPU", False, None, common=True)
    deterministic: bool = option(
        "device",
        "same numbers with any --jobs: deterministic algorithms (CUDA too), one CPU thread",
        False,
        None,
        affects=Affects.TRAINING,
        late=True,
    )
    verbose: bool = option("verbose", "print every epoch and round", False, None)
