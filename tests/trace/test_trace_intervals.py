"""Unions of intervals against counting instants one by one, and the order of classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from Utils.trace import intervals

PAIRS = st.lists(st.tuples(st.integers(-20, 60), st.integers(0, 25)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


def array(pairs):
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def instants(pairs):
    return {t for start, end in pairs for t in range(start, end)}


@given(PAIRS)
def test_union_covers_the_same_instants_with_disjoint_intervals(pairs):
    joined = intervals.union(array(pairs))
    assert instants(joined.tolist()) == instants(pairs)
    assert (joined[1:, 0] > joined[:-1, 1]).all() and (joined[:, 1] > joined[:, 0]).all()
    assert intervals.length(array(pairs)) == len(instants(pairs))


@given(PAIRS, st.integers(-10, 20), st.integers(20, 70))
def test_gaps_are_the_instants_in_which_nothing_runs(pairs, start, end):
    free = set(range(start, end)) - instants(pairs)
    found = intervals.gaps(array(pairs), start, end).tolist()
    assert instants(found) == free and sum(b - a for a, b in found) == len(free)
    assert instants(intervals.clip(array(pairs), start, end).tolist()) == instants(pairs) & set(range(start, end))


@given(st.lists(PAIRS, max_size=5))
def test_exclusive_lengths_count_each_instant_once_for_the_first_group(groups):
    seen: set[int] = set()
    expected = []
    for pairs in groups:
        expected.append(len(instants(pairs) - seen))
        seen |= instants(pairs)
    assert intervals.exclusive(map(array, groups)) == expected


def test_lengths_at_the_size_of_dates_are_exact():
    date = 1_712_195_495_519_689_123  # nanoseconds; doubles there are 256 apart
    assert intervals.length(array([(date, date + 5), (date + 3, date + 8), (date + 8, date + 9)])) == 9
