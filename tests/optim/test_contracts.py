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
from jax231.optim import catalog, counts, stock_table
from jax231.optim.accumulate import accumulate
from jax231.optim.adam import adam
from jax231.optim.clip import clipped
from jax231.optim.decay import coupled, decoupled
from jax231.optim.on_subset import on_subset
from jax231.optim.schedule_free import schedule_free_sgd
from jax231.optim.stock import stock
from tests.handed import builder, everything

CATALOG = {entry.name: builder(entry) for entry in catalog.ENTRIES}
UNTAPPED = [entry.name for entry in catalog.ENTRIES if "taps" not in entry.needs]
FIRST_ORDER = ("adamw", "nadam", "lion", "muon", "schedule_free")
OTHERS = {
    "schedule_free_sgd": schedule_free_sgd,
    "clipped": lambda rate: clipped(adam(rate), 0.5),
    "coupled": lambda rate: coupled(adam(rate), 0.1, lambda name: name.endswith("weight")),
    "decoupled": lambda rate: decoupled(adam(rate), rate, 0.1, lambda name: name.endswith("weight")),
}
EVERY = CATALOG | OTHERS | {name: stock(name) for name in stock_table.NAMES}
BATCH = jnp.ones((), jnp.float32)


def wrapped(tx):
    """Through both wrappers, on all parameters but one."""
    return accumulate(on_subset(tx, lambda name: name != "hidden/bias"), 2, BATCH)


def net(*types):
    """The small net with its layers in the given types; it has a scalar, vectors and a matrix."""
    given, start = everything()
    return given, {
        layer: jax.tree.map(lambda x, dtype=dtype: jnp.asarray(x, dtype), start[layer])
        for layer, dtype in zip(("hidden", "output"), types, strict=True)
    }


def run(tx, given, params, steps, batches=False):
    """The parameters and the state after a scan, every call with all that an optimizer may ask for."""
    fun = given["value_fn"]
    if batches:
        given = {name: lambda x, _, f=f: f(x) for name, f in given.items() if name != "taps"} | {"batch": BATCH}

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(fun)(params)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, **given)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "wrap"),
    [(name, True) for name in UNTAPPED] + [(name, False) for name in EVERY if name not in UNTAPPED],
)
def test_a_scan_over_mapped_settings_keeps_all_types(name, wrap):
    """In a tree of bfloat16 and float32, at float64 settings: the state maps onto its own type, none of it wider."""
    given, params = net(jnp.bfloat16, jnp.float32)

    def ends(setting):
        tx = EVERY[name](setting)
        return run(wrapped(tx) if wrap else tx, given, params, 2, wrap)

    _, state = jax.eval_shape(jax.vmap(ends), jnp.full(2, 0.1, jnp.float64))
    constants = {"ns_coeffs"}  # of Muon's iteration
    leaves = dict(zip(tree.names(state), jax.tree.leaves(state), strict=True))
    wide = {path for path, leaf in leaves.items() if leaf.dtype == jnp.float64}
    assert {path.rpartition("/")[-1] for path in wide} <= constants
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def test_step_sizes_are_lanes_of_one_program_that_lowers_the_loss():
    """All in one program, for the sake of compilation, and on bfloat16 parameters beside float32 ones."""
    given, params = net(jnp.bfloat16, jnp.float32)
    fun = given["value_fn"]

    @jax.jit
    def lanes(rates):
        ends = {
            name: jax.vmap(lambda rate, b=EVERY[name]: run(b(rate), given, params, 10)[0])(rates)
            for name in FIRST_ORDER
        }
        return ends, jax.tree.map(jax.vmap(fun), ends, is_leaf=lambda x: isinstance(x, dict) and "hidden" in x)

    ends, losses = lanes(jnp.array([1e-3, 5e-3, 2e-2]))
    others, _ = lanes(jnp.array([2e-3, 6e-3, 3e-2]))
    assert lanes._cache_size() == 1
    for name in FIRST_ORDER:
        assert (losses[name] < fun(params)).all(), name
        assert not np.array_equal(ends[name]["output"]["weight"], others[name]["output"]["weight"]), name


@pytest.mark.parametrize("name", CATALOG)
def test_no_two_arrays_of_parameters_and_state_share_memory(name):
    """A training step donates both, and no buffer can be donated twice."""
    for params in ({"hidden": {"weight": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}, {"hidden": {"weight": jnp.eye(2)}}):
        donated = {"params": params, "state": CATALOG[name](0.1).init(params)}
        places: dict[int, list[str]] = {}
        for path, leaf in zip(tree.names(donated), jax.tree.leaves(donated), strict=True):
            places.setdefault(leaf.unsafe_buffer_pointer(), []).append(path)
        assert all(len(paths) == 1 for paths in places.values()), [paths for paths in places.values() if paths[1:]]


def test_counts_can_be_donated():
    given = counts.none()
    assert jax.jit(lambda c: c.plus(loss=1), donate_argnums=0)(given).loss == 1
    assert all(leaf.is_deleted() for leaf in given)


BAD_LOSSES = {
    "not scalar": (lambda x: jnp.ones(3) * jnp.sum(x["hidden"]["weight"]), "expected a loss that is one floating num"),
    "aux": (lambda x: (jnp.sum(x["hidden"]["weight"]), x), "expected an objective that returns the loss alone"),
}


@pytest.mark.parametrize("entry", catalog.ENTRIES, ids=lambda entry: entry.name)
def test_bad_input_is_named(entry):
    """A setting out of range, integer parameters, and where losses are used, one that is none."""
    build = builder(entry)
    word, bound = ("rate", "above 0") if entry.setting == "step size" else ("damping", "of at least 0")
    for bad in (-1.0, jnp.asarray(-1.0), float("nan"), *((0.0, jnp.zeros(())) if word == "rate" else ())):
        with pytest.raises(ValueError, match=rf"^{entry.name}: expected {word} {bound}; got {word}="):
            build(bad)
    given, params = net(jnp.float32, jnp.float32)
    tx = build(0.1)
    value, state = jnp.ones(()), tx.init(params)
    integers = {**params, "hidden": jax.tree.map(jnp.int32, params["hidden"])}

    def update(params, **changed):
        return tx.update(params, state, params, **{"value": value, "grad": params} | given | changed)

    with pytest.raises(ValueError, match=r"expected parameters of a floating type; got hidden/bias=\(5,\), dtype"):
        (tx.init(integers), update(integers))
    for loss, message in BAD_LOSSES.values():
        for need in {"value_fn", "overlap_fn", "curvature_fn"} & set(entry.needs):
            with pytest.raises(ValueError, match=message):
                jax.eval_shape(lambda p, need=need, loss=loss: update(p, **{"value_fn": zero, need: loss}), params)


def zero(params):
    return 0 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params))
