"""A dataset of whose training images some are held out, for choices that the test set must not make."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from Utils.base import seeds
from Utils.base.errors import Refused
from Utils.data import sharding
from Utils.data.datasets import Dataset


class HeldOut(Dataset):
    """A view of `whole`, whose images it shares, without the images held out: training never sees those.

    Which they are is a function of the seed, the fraction and the size of the training set alone: round(F * N) images, the
    first of a permutation of a stream of its own. `train_size` and `train_labels` are what is left to train on.

    Attributes:
        val_size: how many images are held out.
        val_indices: which, int64 [val_size] on the CPU, ascending, numbered as in the whole training set.

    Raises:
        Refused: the fraction holds out none or all of the images.
    """

    def __init__(self, whole: Dataset, fraction: float, seed: int) -> None:
        vars(self).update(vars(whole))
        count, held = whole.train_size, round(fraction * whole.train_size)
        if not 0 < held < count:
            raise Refused(f"--val-fraction {fraction:g} holds out {held} of the {count} training images")
        order = torch.randperm(count, generator=seeds.generator(seed, "validation"))
        self.val_indices, self._among = order[:held].sort().values, order[held:].sort().values
        self.val_size, self.train_size = held, count - held
        self._whole, self._train = whole, None
        if whole._train is not None:
            self.load()

    def load(self) -> None:
        """Read the whole set, unless that was done already."""
        if self._train is not None:
            return
        whole = self._whole
        whole.load()
        self.mean, self.std, self.test_labels = whole.mean, whole.std, whole.test_labels
        self.train_labels = whole.train_labels[self._among]
        self._train, self._test = whole._train, whole._test

    def scoring_subset(self, count: int) -> Tensor:
        """As for the whole set, with the same draw; images that are held out are passed over."""
        drawn = torch.randperm(self._whole.train_size)
        return drawn[~torch.isin(drawn, self.val_indices)][:count]

    def val_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """The images held out, in order, or a `share` of them, never augmented; the last batch may be smaller."""
        self.load()
        return self._train.plain_batches(batch_size, self.val_indices[slice(*sharding.part(self.val_size, share))])
