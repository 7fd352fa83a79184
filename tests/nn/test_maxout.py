import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jax231.functional.activations import maxout
from jax231.functional.linear import affine
from jax231.nn.bridge import arrays
from jax231.nn.maxout import Maxout


def test_maxout_is_an_affine_map_and_the_function():
    layer, x = Maxout(3, 4, 2, rngs=nnx.Rngs(0)), jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    params, state = arrays(layer)
    assert (jax.tree.map(jnp.shape, params), state) == ({"affine": {"kernel": (3, 8), "bias": (8,)}}, {})
    np.testing.assert_array_equal(layer(x), maxout(affine(x, **_named(params["affine"])), 2))
    assert layer(x).shape == (5, 4)


def _named(params):
    return {"weight": params["kernel"], "bias": params["bias"]}
