import subprocess
import sys
from typing import get_args

import jax.numpy as jnp
import pytest

from jax231.compare.config import OptimizerName
from jax231.optim import catalog
from jax231.optim.counts import Counts

every_entry = pytest.mark.parametrize("entry", catalog.ENTRIES, ids=lambda entry: entry.name)


def test_names_are_those_that_a_comparison_takes():
    assert get_args(OptimizerName) == catalog.NAMES
    assert len(set(catalog.NAMES)) == len(catalog.NAMES)


@every_entry
def test_every_entry_builds_from_one_number(entry):
    tx = entry.builder(entry.space[0])
    tx.init({"w": jnp.ones(2)})
    assert catalog.entry(entry.name) is entry


@every_entry
def test_the_facts_fit_together(entry):
    low, high = entry.space
    assert 0 < low < high
    assert (entry.setting, entry.batch) == {1: ("step size", "mini-batch"), 2: ("damping", "full batch")}[entry.order]
    assert set(entry.evaluations) <= set(Counts._fields)
    assert all((entry.title, entry.memory, entry.when, entry.source))
    assert (entry.order == 2) <= ("value_fn" in entry.needs)


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match=r"optimizers: expected .*; got 'newtn' \(nearest: newton, "):
        catalog.entry("newtn")
    with pytest.raises(ValueError, match=r"got 'xyz' \(nearest: sgd, momentum, .*lbfgs\)"):
        catalog.entry("xyz")


def test_reading_the_table_imports_no_jax():
    code = "import sys; from jax231.optim.catalog import ENTRIES; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
