"""A saved run's network and data, in the state in which it ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from Models.masking import keep_recorded
from Models.weights import load_weights
from Utils.base.checksums import check_file
from Utils.base.own_network import network_of_run
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.open_set import open_data
from Utils.options.resolve import changed_images
from Utils.options.table import defaults, of_parts
from Utils.options.types import Options
from Utils.runs.made_on import recorded_precision
from Utils.runs.saved import MODEL
from Utils.runs.saved_options import recorded_in
from Utils.training.masked_network import MaskedNetwork, build_model, mask
from Utils.training.set_up import use_threads


def was_given(options: Options, name: str) -> bool:
    """Tell whether the command line gave this option.

    If that was not recorded, tell whether the option's value differs from its default.
    """
    if options.given is not None:
        return name in options.given
    return getattr(options, name) != defaults(options.experiment)[name]


def reopen(folder: Path, options: Options) -> MaskedNetwork:
    """Open the network of the run in `folder` as it was saved, and its data, with the run's own options and precision.

    `options` are those of the present command.

    Raises:
        Refused: a file is missing, unreadable or changed, or the data cannot be found, or the network is from a file that the
            command does not name (see `network_of_run`).
    """
    for name in ("args.json", MODEL):
        check_file(folder / name)
    recorded = recorded_in(folder)
    named = network_of_run(folder, recorded, options.model if was_given(options, "model") else None)
    places = {name: getattr(options, name) for name in of_parts("data") if was_given(options, name)}
    saved = replace(Options.from_record(recorded), model=named, **places)
    if note := changed_images(recorded):
        print(note)
    device = choose_device(options)
    data = open_data(saved, device)
    data.load()
    model = build_model(saved, data)
    if saved.pretrained and hasattr(model, "transform_input"):
        model.transform_input = True  # torchvision's pretrained GoogLeNet and Inception rescale their input
    prunables = mask(model, replace(saved, dense_classifier=False), data.input_shape)
    found = load_weights(model, folder / MODEL, source=str(folder / MODEL))
    masks = {f"{name}_mask": tensor for name, tensor in found.masks.items()}
    keep_recorded(prunables, masks)
    model.load_state_dict(masks, strict=False)  # the weights are masked already; this sets the masks
    use_threads(model, saved, data.input_shape)
    precision = Precision.of(saved, device, recorded_precision(recorded))
    return MaskedNetwork(model.to(device), prunables, data, device, saved, precision)
