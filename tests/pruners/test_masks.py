"""Budgets and selection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Pruners._shared import masks as selection
from Pruners._shared.masks import COINCIDENCE, keep_largest, kept_count


@pytest.mark.parametrize(
    ("total", "density", "kept"),
    [(10, 0.9, 9), (10, 0.1, 1), (119400, 0.1, 11940), (14715584, 0.01, 147156), (10, 1.0, 10), (3, 0.5, 2), (1000, 0.001, 1),
     (14715584, 10**-0.5, 4653477)],
)  # fmt: skip
def test_budgets_worked_out_by_hand(total, density, kept):
    assert kept_count(total, density) == kept


@given(st.integers(1, 10**8), st.integers(0, 1000))
def test_decimal_densities_are_exact(total, thousandths):
    kept = kept_count(total, thousandths / 1000)
    assert kept == -(-total * thousandths // 1000)  # the ceiling, in integers


def test_equal_scores_are_ordered_by_position_over_all_tensors():
    masks = [torch.ones(2, 2), torch.ones(3)]
    keep_largest([torch.tensor([[1.0, 2.0], [1.0, 1.0]]), torch.tensor([1.0, 3.0, 1.0])], masks, 4, floor=4)
    assert masks[0].tolist() == [[1, 1], [1, 0]] and masks[1].tolist() == [0, 1, 0]


def test_all_scores_zero_still_keep_the_budget():
    """The ancestor's threshold removed all of them."""
    masks = [torch.ones(638)]
    keep_largest([torch.zeros(638)], masks, 100, floor=100)
    assert masks[0].sum() == 100 and masks[0][:100].all()


def test_pruned_weights_never_return():
    masks = [torch.tensor([1.0, 0.0, 1.0, 0.0])]
    keep_largest([torch.tensor([0.1, 9.0, 0.2, 9.0])], masks, 1, floor=1)
    assert masks[0].tolist() == [0, 0, 1, 0]
    keep_largest([torch.tensor([9.0, 9.0, 0.2, 9.0])], masks, 3, floor=1)
    assert masks[0].tolist() == [0, 0, 1, 0]


def test_a_pair_that_ties_for_the_last_place_goes_together_before_the_last_round():
    scores, masks = [torch.tensor([5.0, 1.0, 1.0, 7.0])], [torch.ones(4)]
    keep_largest(scores, masks, 3, floor=2)
    assert masks[0].tolist() == [1, 0, 0, 1]
    masks = [torch.ones(4)]
    keep_largest(scores, masks, 3, floor=3)
    assert masks[0].tolist() == [1, 1, 0, 1]


cases = st.integers(1, 70).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-3, 8), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.integers(0, n + 3).flatmap(lambda kept: st.tuples(st.just(kept), st.integers(0, kept))),
    )
)


@settings(max_examples=300, deadline=None)
@given(cases)
def test_selection_against_a_sort(case):
    values, alive, (kept, floor) = case
    scores, start = torch.tensor(values, dtype=torch.float32), torch.tensor(alive, dtype=torch.float32)
    mask = start.clone()
    keep_largest([scores], [mask], kept, floor)
    survivors = sorted((i for i, a in enumerate(alive) if a), key=lambda i: (-values[i], i))
    want = set(survivors[:kept])
    if kept < len(survivors) and kept > 0:
        tied = {i for i in survivors if values[i] == values[survivors[kept - 1]]}
        whole = want - tied
        if tied - want and len(tied) <= COINCIDENCE and len(whole) >= floor:
            want = whole
    assert {i for i, m in enumerate(mask.tolist()) if m} == want


@settings(max_examples=200, deadline=None)
@given(cases)
def test_both_devices_select_the_same(case):
    values, alive, (kept, floor) = case
    scores = torch.tensor(values, dtype=torch.float32).split(9)
    masks = [torch.tensor(alive, dtype=torch.float32).split(9) for _ in range(2)]
    masks = [[m.clone() for m in half] for half in masks]
    selection._shrink_on_cpu(scores, masks[0], kept, floor)
    selection._shrink_on_device(scores, masks[1], kept, floor)
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))


@pytest.mark.parametrize("draw", [np.random.default_rng(0).standard_normal, lambda n: np.random.default_rng(1).integers(0, 5, n)])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.5, 0.97, 1.0])
def test_large_selections_are_exact(draw, share):
    """A million scores in three tensors: sampling brackets the cut and never decides it."""
    array = torch.from_numpy(draw(1_000_000).astype(np.float32))
    masks = [torch.ones(n) for n in (1000, 700_000, 299_000)]
    masks[1][::3] = 0
    start = torch.cat(masks)
    kept = round(share * int(start.sum()))
    keep_largest(array.split([m.numel() for m in masks]), masks, kept, floor=kept)
    order = torch.argsort(torch.where(start > 0, array, -torch.inf), descending=True, stable=True)
    want = torch.zeros(1_000_000)
    want[order[:kept]] = 1
    assert torch.equal(torch.cat(masks), want)


def test_a_sample_that_misleads_changes_nothing():
    """Every sampled entry is among the smallest: the bracket misses, and everything is collected."""
    array = torch.arange(16 * selection.SAMPLE, dtype=torch.float32)
    array[:: array.numel() // selection.SAMPLE] = -1
    mask = torch.ones_like(array)
    keep_largest([array], [mask], 100, floor=100)
    assert mask.sum() == 100 and mask[-100:].sum() >= 93


def test_masks_in_another_memory_format_are_written_too():
    mask = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    scores = torch.arange(96.0).view(2, 3, 4, 4)
    keep_largest([scores], [mask], 40, floor=40)
    assert torch.equal(mask.reshape(-1), (torch.arange(96) >= 56).float())


def test_selection_reads_nothing_back_from_the_device():
    masks = [torch.ones(3, 4, device="meta"), torch.ones(5, device="meta")]
    keep_largest([torch.empty_like(m) for m in masks], masks, 6, floor=2)
    assert all(m.device.type == "meta" for m in masks)
