"""A saved run's network and data, as they were when it ended."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from Models.masking import Prunable
from Models.weights import load_weights
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.base.own_network import network_of_run
from Utils.compute.device import choose_device
from Utils.data.datasets import Dataset
from Utils.options.experiments import EXPERIMENTS
from Utils.options.resolve import changed_images
from Utils.options.table import defaults
from Utils.runs.run_files import check_file
from Utils.runs.saved import MODEL, read_tensors
from Utils.training.network import build_model, mask, open_data, use_threads

PLACES = ("data_dir", "no_download", "workers")  # where this command's word counts, if it was given one


def was_given(options: argparse.Namespace, name: str) -> bool:
    """Whether the command line gave this option; by its value where nobody noted what was given."""
    if "given" in options:
        return name in options.given
    return getattr(options, name) != defaults(options.experiment)[name]


@dataclass(frozen=True)
class Reopened:
    """The network of a run with its masks, on the device; its data, read; the options that it was made with."""

    model: nn.Module
    prunables: list[Prunable]
    data: Dataset
    options: argparse.Namespace
    device: torch.device


def reopen(folder: Path, options: argparse.Namespace) -> Reopened:
    """The run in `folder`, from its `args.json` and `model.pt`; `options` are those of the command that wants it.

    Raises:
        Refused: a file of it is missing, cannot be read or is not what the run wrote, or its data cannot be found; or its network
            is from a file that the command does not name (see `network_of_run`).
    """
    for name in ("args.json", MODEL):
        check_file(folder / name)
    recorded = read_json(folder / "args.json")
    experiment = recorded.get("experiment", "singleshot")
    if str(experiment) not in EXPERIMENTS:
        raise Refused(f"{folder / 'args.json'}: no experiment has the name {experiment!r}")
    saved = argparse.Namespace(**defaults(experiment) | recorded)
    saved.model = network_of_run(folder, recorded, options.model if was_given(options, "model") else None)
    for place in PLACES:
        if was_given(options, place):
            setattr(saved, place, getattr(options, place))
    if note := changed_images(recorded):
        print(note)
    device = choose_device(options)
    data = open_data(saved, device)
    data.load()
    model = build_model(saved, data)
    if saved.pretrained and hasattr(model, "transform_input"):
        model.transform_input = True  # torchvision's pretrained GoogLeNet and Inception rescale their input
    prunables = mask(model, saved)
    try:
        load_weights(model, folder / MODEL)
    except Refused as error:
        raise Refused(str(error).replace("--weights ", "", 1)) from error
    masks = {name: tensor for name, tensor in read_tensors(folder / MODEL).items() if name.endswith("_mask")}
    model.load_state_dict(masks, strict=False)  # weights are masked already; which of them are pruned is known from here on
    use_threads(model, saved, data.input_shape)
    return Reopened(model.to(device), prunables, data, saved, device)
