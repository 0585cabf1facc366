"""The numbers of batches of an epoch: of training, and of the evaluation after it."""

from __future__ import annotations

from Utils.data.dataset import Dataset
from Utils.options.types import Options


def batches_of_epoch(data: Dataset, options: Options) -> tuple[int, int]:
    """Return how many batches an epoch trains on, and how many an evaluation tests, with the images held out."""
    tested = -(-data.test_size // options.test_batch_size) + -(-data.val_size // options.test_batch_size)
    return -(-data.train_size // options.train_batch_size), tested
