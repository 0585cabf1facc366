"""Dynamic sparse training: the updates of the masks for methods that move them while the network trains."""

from __future__ import annotations

from Pruners._shared.base import Pruner
from Pruners._shared.dynamics import DropAndGrow
from Pruners._shared.updates import MaskUpdates
from Utils.data.sharding import batch_sizes
from Utils.training.masked_network import MaskedNetwork


def mask_updates(pruner: Pruner, network: MaskedNetwork) -> MaskUpdates | None:
    """Plan the mask updates of the training after pruning (`--update-interval`); None if the method does not move masks.

    A NOTE says so if the interval is longer than the part of the training in which masks may move.
    """
    if pruner.growth is None:
        return None
    options = network.options
    steps = len(batch_sizes(network.data.train_size, options.train_batch_size))
    dynamics = DropAndGrow(pruner.growth, options.update_interval, options.drop_fraction, options.update_end_fraction)
    updates = MaskUpdates(
        network.prunables, dynamics, options.seed, steps=steps * options.post_epochs, steps_per_epoch=steps
    )
    if not updates.due(options.update_interval):
        print(f"NOTE: the masks stay: --update-interval {options.update_interval} is longer than the training that may move them")
    return updates
