"""What every optimizer keeps, whatever it is: those of the catalog, the wrappers around them, and those of Optax.

A new entry of the catalog is tested by being there. Whether it follows its definition is the matter of its own file;
`test_first_order` and `test_second_order` have the contracts of the catalog's entries without wrappers.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.optim import catalog, stock_table
from jax231.optim.accumulate import accumulate
from jax231.optim.adam import adam
from jax231.optim.adamw import adamw
from jax231.optim.clip import clipped
from jax231.optim.decay import coupled, decoupled
from jax231.optim.lion import lion
from jax231.optim.muon import muon
from jax231.optim.nadam import nadam
from jax231.optim.on_subset import on_subset
from jax231.optim.schedule_free import schedule_free, schedule_free_sgd
from jax231.optim.stock import stock
from tests.trajectories import small_net

CATALOG = {entry.name: entry.builder for entry in catalog.ENTRIES if "taps" not in entry.needs}
FIRST_ORDER = {"adamw": adamw, "nadam": nadam, "lion": lion, "muon": muon, "schedule_free": schedule_free}
OTHERS = {
    "schedule_free_sgd": schedule_free_sgd,
    "clipped": lambda rate: clipped(adam(rate), 0.5),
    "coupled": lambda rate: coupled(adam(rate), 0.1, lambda name: name.endswith("weight")),
    "decoupled": lambda rate: decoupled(adam(rate), rate, 0.1, lambda name: name.endswith("weight")),
}
EVERY = CATALOG | FIRST_ORDER | OTHERS | {name: stock(name) for name in stock_table.NAMES}
BATCH = jnp.ones((), jnp.float32)


def wrapped(tx):
    """Through both wrappers, on all parameters but one."""
    return accumulate(on_subset(tx, lambda name: name != "hidden/bias"), 2, BATCH)


def net(*types):
    """The small net with its layers in the given types; it has a scalar, vectors and a matrix."""
    fun, start = small_net()
    return fun, {
        layer: jax.tree.map(lambda x, dtype=dtype: jnp.asarray(x, dtype), start[layer])
        for layer, dtype in zip(("hidden", "output"), types, strict=True)
    }


def run(tx, fun, params, steps, batches=False):
    """The parameters and the state after a scan, every call with all that an optimizer may ask for, but taps."""

    def batched(f):
        return (lambda x, batch: f(x)) if batches else f

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(fun)(params)
        extra = {"value": value, "grad": grads, "value_fn": batched(fun), "batch": BATCH, "overlap_fn": batched(fun)}
        extra |= {"outputs_fn": batched(lambda p: fun(p)[None]), "outputs_loss": batched(jnp.sum)}
        updates, state = tx.update(grads, state, params, per_example_fn=batched(lambda p: fun(p)[None]), **extra)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "wrap"),
    [(name, True) for name in CATALOG | FIRST_ORDER] + [(name, False) for name in EVERY if name not in CATALOG],
)
def test_a_scan_over_mapped_settings_keeps_all_types(name, wrap):
    """In a tree of bfloat16 and float32, at float64 settings: the state maps onto its own type, none of it wider."""
    fun, params = net(jnp.bfloat16, jnp.float32)

    def ends(setting):
        tx = EVERY[name](setting)
        return run(wrapped(tx) if wrap else tx, fun, params, 2, wrap)

    _, state = jax.eval_shape(jax.vmap(ends), jnp.full(2, 0.1, jnp.float64))
    constants = {"ns_coeffs"}  # of Muon's iteration
    leaves = dict(zip(tree.names(state), jax.tree.leaves(state), strict=True))
    wide = {path for path, leaf in leaves.items() if leaf.dtype == jnp.float64}
    assert {path.rpartition("/")[-1] for path in wide} <= constants
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def test_step_sizes_are_lanes_of_one_program_that_lowers_the_loss():
    """All in one program, for the sake of compilation, and on bfloat16 parameters beside float32 ones."""
    fun, params = net(jnp.bfloat16, jnp.float32)

    @jax.jit
    def lanes(rates):
        ends = {
            name: jax.vmap(lambda rate, b=EVERY[name]: run(b(rate), fun, params, 10)[0])(rates) for name in FIRST_ORDER
        }
        return ends, jax.tree.map(jax.vmap(fun), ends, is_leaf=lambda x: isinstance(x, dict) and "hidden" in x)

    ends, losses = lanes(jnp.array([1e-3, 5e-3, 2e-2]))
    others, _ = lanes(jnp.array([2e-3, 6e-3, 3e-2]))
    assert lanes._cache_size() == 1
    for name in FIRST_ORDER:
        assert (losses[name] < fun(params)).all(), name
        assert not np.array_equal(ends[name]["output"]["weight"], others[name]["output"]["weight"]), name
