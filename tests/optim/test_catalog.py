import contextlib
import inspect
import subprocess
import sys
from typing import get_args

import jax
import jax.numpy as jnp
import pytest

from jax231.compare.config import HANDED, OptimizerName
from jax231.optim import catalog
from jax231.optim.counts import Counts
from jax231.optim.kfac import Layer

PARAMS = {"layer": {"kernel": jnp.ones((2, 3))}}
OPTIONS = {"layers": {"layer": Layer()}}
every_entry = pytest.mark.parametrize("entry", catalog.ENTRIES, ids=lambda entry: entry.name)


def test_a_comparison_takes_those_that_need_what_it_hands_over():
    comparable = tuple(entry.name for entry in catalog.ENTRIES if set(entry.needs) <= set(HANDED))
    assert get_args(OptimizerName) == comparable
    assert {need for entry in catalog.ENTRIES for need in entry.needs} == set(catalog.NEEDS)
    assert len(set(catalog.NAMES)) == len(catalog.NAMES)


@every_entry
def test_every_entry_builds_from_one_number(entry):
    options = {name: OPTIONS[name] for name in entry.options}
    state = entry.builder(entry.space[0], **options).init(PARAMS)
    ours = entry.evaluation_params(state, PARAMS)
    assert jax.tree.structure(ours) == jax.tree.structure(PARAMS)
    with contextlib.nullcontext() if not options else pytest.raises(TypeError, match=entry.options[0]):
        entry.builder(entry.space[0])
    assert catalog.entry(entry.name) is entry


@every_entry
def test_the_facts_fit_together(entry):
    low, high = entry.space
    assert 0 < low < high
    assert entry.setting == next(iter(inspect.signature(entry.builder).parameters)).replace("rate", "step size")
    assert (entry.batch == "mini-batch") == (entry.order == 1 or entry.noise)
    assert set(entry.evaluations) <= set(Counts._fields)
    assert all((entry.title, entry.memory, entry.when, entry.source))
    assert (entry.order == 2) <= bool({"value_fn", "overlap_fn"} & set(entry.needs))


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match=r"optimizers: expected .*; got 'newtn' \(nearest: newton, "):
        catalog.entry("newtn")
    with pytest.raises(ValueError, match=r"got 'xyz' \(none is near; `jax231 optimizers` lists them\)"):
        catalog.entry("xyz")


def test_reading_the_table_imports_no_jax():
    code = "import sys; from jax231.optim.catalog import ENTRIES; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
