"""Evaluate: test the networks of saved runs again."""

from __future__ import annotations

import argparse
from pathlib import Path

from Models.masking import add_masks
from Models.weights import load_weights
from Utils.errors import Refused
from Utils.results import read_json
from Utils.setup import build_model, choose_device, open_data
from Utils.training import evaluate


def run(options: argparse.Namespace) -> None:
    """Print loss and accuracies of `model.pt` of each `--run FOLDER`, beside those that its summary holds.

    Raises:
        Refused: a folder that holds no saved network.
    """
    folders = [Path(folder) for folder in options.run]
    for folder in folders:
        if not (folder / "model.pt").is_file():
            raise Refused(f"--run {folder}: no saved network there (model.pt is missing)")
    for folder in folders:
        _evaluate(folder, options)


def _evaluate(folder: Path, options: argparse.Namespace) -> None:
    saved = argparse.Namespace(**read_json(folder / "args.json") | vars(options))
    device = choose_device(options)
    data = open_data(saved, device)
    data.load()
    model = build_model(saved, data)
    add_masks(
        model,
        bias=saved.prune_bias,
        batchnorm=saved.prune_batchnorm,
        residual=saved.prune_residual,
        dense_classifier=saved.dense_classifier,
    )
    load_weights(model, folder / "model.pt")
    loss, top1, top5 = evaluate(model.to(device), data.test_batches(options.test_batch_size))
    before = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    print(f"{folder}: {_text(loss, top1, top5)}")
    if "top1_last" in before:
        print(f"  when it was saved: {_text(before['test_loss_last'], before['top1_last'], before['top5_last'])}")


def _text(loss: float, top1: float, top5: float) -> str:
    return f"test loss {loss:.6f}, top-1 {top1:.2f} %, top-5 {top5:.2f} %"
