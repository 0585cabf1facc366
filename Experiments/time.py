"""Time: measure the inference time of saved runs again, beside the dense network."""

from __future__ import annotations

import argparse

from Utils.files import write_json
from Utils.reopen import reopen
from Utils.saved import saved_networks
from Utils.tables import print_inference
from Utils.timing import inference_times


def run(options: argparse.Namespace) -> None:
    """Measure `model.pt` of each `--run FOLDER` and write `time.json` there; a grid's folder stands for all its cells.

    Raises:
        Refused: no folder holds a saved network, or one that does cannot be read.
    """
    for folder in saved_networks(options.run):
        run = reopen(folder, options)
        run.options.test_batch_size = options.test_batch_size
        times = inference_times(run.model, run.data, run.options, run.device)
        write_json(folder / "time.json", times)
        print(folder)
        print_inference(times)
