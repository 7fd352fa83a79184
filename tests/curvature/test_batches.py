import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.curvature.batches import over_batches
from jax231.curvature.lanczos import eigenpairs
from jax231.curvature.products import ggnvp, hvp

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
DATA = Batch(RNG.normal(size=(10, 3)), RNG.integers(0, 4, 10))
PARAMS = {"weight": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)}
VECTOR = {"weight": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)}


def logits(params, batch):
    return jnp.tanh(batch.inputs @ params["weight"] + params["bias"])


def loss_of(batch):
    return lambda z: -jnp.take_along_axis(jax.nn.log_softmax(z), batch.targets[:, None], 1).mean()


def loss(params, batch):
    return loss_of(batch)(logits(params, batch))


def derivatives(params, vector, batch):
    return {
        "value and gradient": jax.value_and_grad(loss)(params, batch),
        "hvp": hvp(lambda p: loss(p, batch), params, vector),
        "ggnvp": ggnvp(lambda p: logits(p, batch), loss_of(batch), params, vector),
    }


@functools.cache
def reference():
    return jax.jit(derivatives)(PARAMS, VECTOR, DATA)


@pytest.mark.parametrize("size", [4, 5, 64])
def test_the_mean_over_batches_is_that_over_all_data(size):
    """Also where the last batch is smaller, and where one is larger than the data."""
    found = jax.jit(over_batches(derivatives, size=size))(PARAMS, VECTOR, DATA)
    chex.assert_trees_all_close(found, reference(), rtol=1e-10, atol=1e-14)


def test_the_whole_can_be_differentiated_and_mapped():
    whole = over_batches(loss, size=4)
    found = jax.jit(lambda p, v, d: hvp(lambda q: whole(q, d), p, v))(PARAMS, VECTOR, DATA)
    chex.assert_trees_all_close(found, reference()["hvp"], rtol=1e-10, atol=1e-14)
    points = jax.tree.map(lambda x: np.stack([x, 2 * x]), PARAMS)
    both = jax.jit(lambda p, d: [jax.vmap(fun, (0, None))(p, d) for fun in (whole, loss)])
    chex.assert_trees_all_close(*both(points, DATA), rtol=1e-12)


def test_eigenvalues_over_a_data_set():
    product = over_batches(lambda p, v, batch: hvp(lambda q: loss(q, batch), p, v), size=4)

    @jax.jit
    def both(params, data):
        return [
            eigenpairs(lambda v, p=p: p(params, v, data), params, jax.random.key(0), steps=16).values
            for p in (product, lambda params, v, data: hvp(lambda q: loss(q, data), params, v))
        ]

    chex.assert_trees_all_close(*both(PARAMS, DATA), rtol=1e-10)


def test_types_are_kept_and_sums_are_wide():
    """The running mean of ones in bfloat16 would stop at a quarter, where a thousandth is less than rounding."""
    data = jnp.ones(1024, jnp.bfloat16)
    found = over_batches(lambda batch: {"mean": batch.mean(), "large": jnp.all(batch > 0.5)}, size=1)(data)
    assert found["mean"].dtype == jnp.bfloat16
    assert found["mean"] == found["large"] == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"over_batches: expected batches of at least one example; got size=0"):
        over_batches(loss, size=0)
    with pytest.raises(
        ValueError, match=r"expected data whose arrays have one length, .*; got shapes=\[\(3, 2\), \(4,\)\]"
    ):
        over_batches(lambda batch: 0.0, size=2)((np.ones((3, 2)), np.ones(4)))
    with pytest.raises(ValueError, match=r"over_batches: expected data whose .*; got shapes=\[\(0, 2\)\]"):
        over_batches(lambda batch: 0.0, size=2)(np.ones((0, 2)))
