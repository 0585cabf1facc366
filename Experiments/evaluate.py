"""Evaluate: test the networks of saved runs again."""

from __future__ import annotations

import argparse
from pathlib import Path

from Models.masking import add_masks
from Models.weights import load_weights
from Utils.errors import Refused
from Utils.options import defaults
from Utils.results import read_json
from Utils.setup import build_model, choose_device, open_data
from Utils.training import evaluate

PLACES = ("data_dir", "no_download", "workers")  # where this command's word counts, if it was given one


def run(options: argparse.Namespace) -> None:
    """Print loss and accuracies of `model.pt` of each `--run FOLDER`, beside those that its summary holds.

    Folders without a saved network are named and left out.

    Raises:
        Refused: no folder holds a saved network, or one that does cannot be read.
    """
    folders = [Path(folder) for folder in options.run]
    whole = [folder for folder in folders if (folder / "model.pt").is_file()]
    if not whole:
        raise Refused(f"--run {' '.join(map(str, folders))}: no saved network there (model.pt is missing)")
    for folder in folders:
        if folder in whole:
            _evaluate(folder, options)
        else:
            print(f"{folder}: no saved network (model.pt is missing)")


def _evaluate(folder: Path, options: argparse.Namespace) -> None:
    saved = argparse.Namespace(**defaults("singleshot") | read_json(folder / "args.json"))
    for place in PLACES:
        if getattr(options, place) != defaults("evaluate")[place]:
            setattr(saved, place, getattr(options, place))
    device = choose_device(options)
    data = open_data(saved, device)
    data.load()
    model = build_model(saved, data)
    if saved.pretrained and hasattr(model, "transform_input"):
        model.transform_input = True  # torchvision's pretrained GoogLeNet and Inception rescale their input
    add_masks(
        model,
        bias=saved.prune_bias,
        batchnorm=saved.prune_batchnorm,
        residual=saved.prune_residual,
        dense_classifier=saved.dense_classifier,
    )
    try:
        load_weights(model, folder / "model.pt")
    except Refused as error:
        raise Refused(str(error).replace("--weights ", "", 1)) from error
    print(f"{folder}: {_text(*evaluate(model.to(device), data.test_batches(options.test_batch_size)))}")
    before = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    if before.get("top1_last") is not None:
        print(f"  when it was saved: {_text(before['test_loss_last'], before['top1_last'], before['top5_last'])}")


def _text(loss: float | None, top1: float, top5: float) -> str:
    shown = "nan" if loss is None else f"{loss:.6f}"
    return f"test loss {shown}, top-1 {top1:.2f} %, top-5 {top5:.2f} %"
