import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.functional.conv import conv2d, conv2d_transpose
from jax231.nn.bridge import arrays
from jax231.nn.conv import Conv, ConvTranspose

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), jnp.float32)
SHAPES = {"kernel": (3, 3, 4, 6), "bias": (6,)}


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({"window": 3}, SHAPES),
        ({"window": 3, "stride": (2, 1), "padding": ((1, 0), (0, 1))}, SHAPES),
        ({"window": 3, "padding": 2, "dilation": 2}, SHAPES),
        ({"window": (3, 1), "groups": 2, "padding": "VALID"}, {"kernel": (3, 1, 2, 6), "bias": (6,)}),
        ({"window": 1, "bias": False}, {"kernel": (1, 1, 4, 6)}),
    ],
)
def test_conv_is_the_function(options, shapes):
    layer = Conv(4, 6, **options, rngs=nnx.Rngs(0))
    params, state = arrays(layer)
    assert (jax.tree.map(jnp.shape, params), state) == (shapes, {})
    passed = {name: value for name, value in options.items() if name not in ("window", "bias")}
    expected = conv2d(X, params["kernel"], params.get("bias"), **passed)
    np.testing.assert_array_equal(layer(X), expected)
    positions, numbers = expected.size, np.prod(params["kernel"].shape[:3])
    assert layer.macs((X,), expected) == positions * numbers


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": "VALID", "bias": False}])
def test_conv_transpose_is_the_function(options):
    layer = ConvTranspose(4, 6, 3, **options, rngs=nnx.Rngs(0))
    params, _ = arrays(layer)
    assert params["kernel"].shape == (3, 3, 6, 4)
    passed = {name: value for name, value in options.items() if name != "bias"}
    expected = conv2d_transpose(X, params["kernel"], params.get("bias"), **passed)
    np.testing.assert_array_equal(layer(X), expected)
    assert layer.macs((X,), expected) == X.size * 3 * 3 * 6


def test_construction_refuses_what_cannot_be():
    rngs = nnx.Rngs(0)
    for groups in (0, 2):
        with pytest.raises(ValueError, match=rf"Conv: expected channels .* groups; got cin=4, cout=5, groups={groups}"):
            Conv(4, 5, 3, groups=groups, rngs=rngs)
    with pytest.raises(ValueError, match=r"Conv: expected window as .*; got window=\(3, 0\)"):
        Conv(4, 5, (3, 0), rngs=rngs)
    with pytest.raises(ValueError, match=r"ConvTranspose: expected window as .*; got window=0"):
        ConvTranspose(4, 5, 0, rngs=rngs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("layer", "where"), [(Conv, "conv2d"), (ConvTranspose, "conv2d_transpose")])
def test_calls_refuse_other_images(layer, where):
    layer = layer(3, 5, 3, padding="VALID", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=rf"{where}: expected .*x=\(2, 6, 5, 4\), kernel="):
        layer(X)
    with pytest.raises(ValueError, match=rf"{where}: expected x with 4 axes .*; got x=\(6, 5, 3\)"):
        layer(X[0, ..., :3])


def test_a_window_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match=r"conv2d: expected a window that fits .*; got size=5, window=7"):
        Conv(4, 5, (3, 7), padding=0, rngs=nnx.Rngs(0))(X)
