import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.activations import relu
from jax231.functional.conv import conv2d
from jax231.functional.norm import batch_norm_train
from jax231.functional.pool import max_pool
from jax231.nn.bridge import functionalize
from jax231.nn.stage import Stage

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 3)), jnp.float32)


@pytest.mark.parametrize(
    "options", [{}, {"pool": False, "bias": False}, {"batch_norm": True}, {"batch_norm": True, "bias": False}]
)
def test_a_stage_is_convolutions_and_relus_and_pooling(options):
    model = functionalize(lambda rngs: Stage(3, (4, 2), **options, rngs=rngs))
    params, state = model.init(jax.random.key(0))
    expected = X
    for layer in (params["layers"]["00"], params["layers"]["01"]):
        assert ("bias" in layer["conv"]) == options.get("bias", True)
        expected = conv2d(expected, layer["conv"]["kernel"], layer["conv"].get("bias"))
        if "batch_norm" in options:
            scale, bias = layer["norm"]["scale"], layer["norm"]["bias"]
            expected, *_ = batch_norm_train(expected, scale, bias, jnp.zeros_like(bias), jnp.ones_like(bias))
        expected = relu(expected)
    expected = max_pool(expected, 2) if options.get("pool", True) else expected
    found, _ = model.apply(params, state, X, train=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
