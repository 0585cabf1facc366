"""Conservation of magnitudes: a test whether training makes a layer's average squared weight inverse to its size.

Gradient flow on homogeneous activations keeps the difference of the squared weights of two layers. Layers of any size therefore
come to similar totals as the weights grow, which is a slope of -1 on logarithmic axes. Tanaka, Kunin, Yamins and Ganguli 2020
(arXiv 2006.05467, section 5) explain by this why iterative magnitude pruning empties no layer, while magnitudes of untrained
weights do. Large steps, Adam and weight decay do not keep the difference; the slopes show how far the law still holds.
"""

from __future__ import annotations

import math

import pandas as pd
import torch
from tqdm import tqdm

from Models.masking import hold_masks
from Utils.base.errors import RunFailed
from Utils.base.seeds import derive
from Utils.compute.clock import Clock
from Utils.compute.device import choose_device
from Utils.data.open_set import open_data
from Utils.measure.score_balance import fit
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import attempt
from Utils.runs.summary import costs
from Utils.studies.conservation import square_table
from Utils.studies.study import print_saved_study, print_study, save_study
from Utils.training.layout import in_layout
from Utils.training.loops import evaluate, train_epoch
from Utils.training.masked_network import MaskedNetwork
from Utils.training.optimizers import make_optimizer, make_schedule
from Utils.training.set_up import prepare, print_pruned

EXPERIMENT = {
    "summary": "average squared weight of each layer against the inverse of its size, over training",
    "reads": ("common", "train", "epochs", "test", "augment"),
    "writes": ("imp-conservation.{csv,png,pdf}",),
    "kind": "study",
}


def run(options: Options) -> None:
    """Train the dense network for `--post-epochs`, measuring after each, or print the results in the finished folder.

    Raises:
        Refused: no file was written.
        RunFailed: the training could not be finished; the folder says why.
    """
    with RunFolder(options) as folder:
        if folder.finished:
            return print_saved_study(folder, first_and_last)
        device = choose_device(options)
        print(f"Loading {options.dataset} dataset.")
        data = open_data(options, device)
        data.load()
        print(f"Creating {options.model_class}-{options.model} model.")
        network = prepare(options, device, data, folder.precision_on(device))
        print_pruned(network)
        network.precision.announce()
        print(f"Training for {options.post_epochs} epochs.")
        folder.begin(device)
        attempt(lambda: _train_and_save(network, folder), folder)


def _train_and_save(network: MaskedNetwork, folder: RunFolder) -> None:
    from Utils.figures.conservation import training_figure

    options, clock = folder.options, Clock(network.device)
    table = _train(network, clock)
    with clock("eval"):
        loss, top1, _ = evaluate(network.model, network.data.test_batches(options.test_batch_size), network.precision)
    slopes = {int(epoch): fit(rows)[0] for epoch, rows in table.groupby("epoch")}
    findings = [f"epoch {epoch}: average squared weight against size has slope {slopes[epoch]:.3f}" for epoch in slopes]
    findings.append(f"after training: test loss {loss:.4f}, top-1 {top1:.2f} %")
    print_study(first_and_last(table), findings)
    figure = training_figure(table, f"Squared weights in training: {options.model}, {options.dataset}")
    results = {"findings": findings, "slopes": slopes, "test_loss_last": loss, "top1_last": top1}
    results |= {"precision": str(network.precision)} | costs(clock)
    save_study(folder, network.device, {"imp-conservation": table}, figure, results)


def first_and_last(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first and of the last epoch."""
    return table[table["epoch"].isin([table["epoch"].min(), table["epoch"].max()])]


def _train(network: MaskedNetwork, clock: Clock) -> pd.DataFrame:
    """Return rows of every layer before training and after each epoch; the test set is not used."""
    options, data, precision = network.options, network.data, network.precision.anew()
    optimizer = make_optimizer(network.model, options.optimizer, options.lr, options.weight_decay)
    scheduler = make_schedule(optimizer, options, options.post_epochs)
    if network.survivors is not None:
        hold_masks(optimizer, network.prunables)
    tables = [_measure(network, 0)]
    bar = tqdm(range(1, options.post_epochs + 1), desc="train", unit="epoch", leave=False, disable=None)
    for epoch in bar:
        torch.manual_seed(derive(options.seed, "post_train", epoch))  # dropout's draws
        batches = data.train_batches(options.train_batch_size, options.seed, "post_train", epoch)
        with clock("post_train"), in_layout(network.model, optimizer, precision.layout):
            loss = train_epoch(network.model, optimizer, batches, precision=precision).item()
        if not math.isfinite(loss):
            raise RunFailed(f"diverged at epoch {epoch}: the training loss is not finite")
        scheduler.step()
        tables.append(_measure(network, epoch))
        bar.set_postfix_str(f"train loss {loss:.4f}")
        if options.verbose:
            bar.write(f"epoch {epoch}/{options.post_epochs}: train loss {loss:.4f}, slope {fit(tables[-1])[0]:.3f}")
    return pd.concat(tables, ignore_index=True)


def _measure(network: MaskedNetwork, epoch: int) -> pd.DataFrame:
    table = square_table(network.model)[["module", "size", "inverse_size", "average_score"]]
    table.insert(0, "epoch", epoch)
    return table
