"""Splits: disjoint, complete, stratified, and a function of the seed alone."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax231.data import splits

LABELS = np.repeat(np.arange(4), [40, 30, 20, 10])[splits.shuffled(100, 9)]


def test_the_permutation_is_the_one_of_every_machine_and_version():
    np.testing.assert_array_equal(splits.shuffled(10, 0), [3, 2, 1, 8, 6, 0, 7, 4, 5, 9])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 2**32))
def test_both_parts_are_disjoint_complete_and_proportional(labels, held, seed):
    labels, held = np.array(labels), min(held, len(labels))
    rest, kept = splits.hold_out(labels, held, seed)
    assert len(kept) == held
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, kept])), np.arange(len(labels)))
    for label in np.unique(labels):
        fair = np.count_nonzero(labels == label) * held / len(labels)
        assert abs(np.count_nonzero(labels[kept] == label) - fair) < 1


def test_three_parts():
    train, validation, test = splits.three_way(LABELS, validation=20, test=10, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation, test])), np.arange(100))
    np.testing.assert_array_equal(np.bincount(LABELS[test]), [4, 3, 2, 1])
    assert (len(train), len(validation), len(test)) == (70, 20, 10)


def test_held_out_examples_are_the_end_of_the_shuffle_of_one_class():
    order = splits.shuffled(10, 7)
    rest, kept = splits.hold_out(np.zeros(10, int), 3, 7)
    np.testing.assert_array_equal(np.concatenate([rest, kept]), order)


def test_another_process_finds_the_same_and_another_seed_another_split():
    code = "import numpy as np; from jax231.data.splits import hold_out; print(hold_out(np.arange(50) % 5, 15, 4)[1])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    labels = np.arange(50) % 5
    assert other == str(splits.hold_out(labels, 15, 4)[1])
    assert other != str(splits.hold_out(labels, 15, 5)[1])


def test_errors_name_what_was_asked():
    with pytest.raises(ValueError, match=r"hold_out: expected held within \[0, 100\]; got held=101"):
        splits.hold_out(LABELS, 101, 0)
    with pytest.raises(ValueError, match=r"hold_out: expected labels with one axis; got labels=\(2, 3\)"):
        splits.hold_out(np.zeros((2, 3), int), 1, 0)
