import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import pool
from jax231.nn.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool, MaxPoolWithSwitches, MaxUnpool
from tests import references

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 7, 3)), jnp.float32)
OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (0, 1))}


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (MaxPool(2), lambda: pool.max_pool(X, 2)),
        (MaxPool((3, 2), **OPTIONS), lambda: pool.max_pool(X, (3, 2), **OPTIONS)),
        (MaxPoolWithSwitches(3, padding="SAME"), lambda: pool.max_pool_with_switches(X, 3, padding="SAME")),
        (AvgPool((3, 2), **OPTIONS), lambda: pool.avg_pool(X, (3, 2), **OPTIONS)),
        (AvgPool(3, padding=1, count_padding=True), lambda: pool.avg_pool(X, 3, padding=1, count_padding=True)),
        (AdaptiveAvgPool((2, 3)), lambda: pool.adaptive_avg_pool(X, (2, 3))),
        (GlobalAvgPool(), lambda: pool.global_avg_pool(X)),
    ],
)
def test_layers_are_their_functions(layer, function):
    jax.tree.map(np.testing.assert_array_equal, layer(X), function())


def test_unpooling_goes_back_where_the_entries_came_from():
    layer = MaxPoolWithSwitches(2)
    y, switches = layer(X)
    back = MaxUnpool()(y, switches, X.shape)
    np.testing.assert_array_equal(back, pool.max_unpool(y, switches, X.shape))
    assert set(np.unique(back[back != X])) == {0.0}


def torch_size(size, window, stride, padding):
    """PyTorch's number of windows with ``ceil_mode=True``: none begins behind the image."""
    count = -(-(size + 2 * padding - window) // stride) + 1
    return count - ((count - 1) * stride >= size + padding)


@pytest.mark.usefixtures("unchecked")
def test_sizes_are_rounded_up_as_in_pytorch():
    for size, window, stride in itertools.product(range(1, 9), range(1, 5), range(1, 6)):
        for padding in range(window // 2 + 1):
            count = torch_size(size, window, stride, padding)
            if count >= 1:
                layer = MaxPool(window, stride=stride, padding=padding, ceil=True)
                image = jax.ShapeDtypeStruct((1, size, 3 * window, 1), jnp.float32)
                (low, high), _ = layer.ends(image)
                assert (size + low + high - window) // stride + 1 == count, (size, window, stride, padding)
                assert max(low, high) < window


def test_windows_over_the_edge_see_what_is_there():
    ends = ((0, 1), (0, 0))
    assert MaxPool(3, stride=2, ceil=True).ends(X) == ends
    np.testing.assert_array_equal(MaxPool(3, stride=2, ceil=True)(X), references.max_pool(X, (3, 3), (2, 2), ends)[0])
    expected = references.avg_pool(X, (3, 3), (2, 2), ends)
    np.testing.assert_allclose(AvgPool(3, stride=2, ceil=True)(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [MaxPool, MaxPoolWithSwitches, AvgPool])
def test_windows_and_strides_below_one_are_refused(layer):
    name = layer.__name__
    with pytest.raises(ValueError, match=f"{name}: expected window as an integer of at least 1 .*; got window=0"):
        layer(0)
    with pytest.raises(ValueError, match=rf"{name}: expected stride as an integer .*; got stride=\(1, 0\)"):
        layer(2, stride=(1, 0))
    with pytest.raises(ValueError, match=rf"{name}: expected padding as .*; got padding='FULL'"):
        layer(2, padding="FULL")(X)
    with pytest.raises(ValueError, match=r"pool.*: expected a window that fits .*; got size=6, window=8"):
        layer(8)(X)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("layer", [MaxPool(2), MaxPoolWithSwitches(2), AvgPool(2), GlobalAvgPool()])
def test_other_ranks_are_refused(layer):
    for x in (X[0], X[0, 0]):
        with pytest.raises(ValueError, match=r"ool: expected x with 4 axes \(n h w c\)|WithSwitches: expected x"):
            layer(x)
