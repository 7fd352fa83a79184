import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax231.functional import conv1d, conv_output_size, conv_transpose_output_size, receptive_field
from tests.geometries import convolutions

small = st.integers(1, 4)


@given(convolutions())
def test_conv_output_size_counts_the_windows(drawn):
    for a in (0, 1):
        n, k, s, d = [q[a] for q in (drawn.size, drawn.window, drawn.stride, drawn.dilation)]
        low, high = drawn.ends[a]
        last = n + low + high - (k - 1) * d - 1
        padding = drawn.padding if isinstance(drawn.padding, str | int) else drawn.padding[a]
        assert conv_output_size(n, k, s, padding, d) == len(range(0, last + 1, s))


@given(small, small, small, st.integers(0, 2), small)
def test_conv_transpose_output_size_is_the_smallest_that_maps_back(size, window, stride, padding, dilation):
    def maps_back(n):
        return n + 2 * padding >= (window - 1) * dilation + 1 and (
            conv_output_size(n, window, stride, padding, dilation) == size
        )

    candidates = [n for n in range(1, 40) if maps_back(n)]
    if candidates:
        assert conv_transpose_output_size(size, window, stride, padding, dilation) == candidates[0]
    else:
        with pytest.raises(ValueError, match="a padding that leaves room for an image"):
            conv_transpose_output_size(size, window, stride, padding, dilation)


def test_sizes_of_the_course():
    assert conv_output_size(7, 3, 1) == 5
    assert conv_output_size(7, 3, 2) == 3
    assert conv_output_size(32, 5, 1, 2) == 32
    assert conv_output_size(227, 11, 4) == 55  # AlexNet
    assert [conv_output_size(n, 3, 2, "SAME") for n in (7, 8, 9)] == [4, 4, 5]
    assert conv_transpose_output_size(4, 3, 2, "SAME") == 8


CHAINS = [
    [(3,), (3,), (3,)],
    [(3, 2), (2, 2), (3, 1, 2)],
    [(5, 2, 1, 2), (3, 1, 2, 2), (3, 2, 1, 1)],
]


@pytest.mark.parametrize("layers", CHAINS)
def test_receptive_field_is_where_the_gradient_arrives(layers):
    field = receptive_field(layers)

    def net(x):
        for window, stride, dilation, padding in [(*layer, *(1, 1, 0)[len(layer) - 1 :]) for layer in layers]:
            x = conv1d(x, jnp.ones((window, 1, 1)), stride=stride, padding=padding, dilation=dilation)
        return x[0, :, 0]

    x = jnp.ones((1, 64, 1))
    for i, row in enumerate(jax.jacrev(net)(x)[:, 0, :, 0][:4]):
        seen = np.flatnonzero(row)
        first = i * field.stride - field.padding
        assert seen[-1] == first + field.size - 1
        assert seen[0] == max(first, seen[0])
        assert first < 0 or seen[0] == first


def test_three_small_filters_see_as_much_as_one_large():
    assert receptive_field([(3,)] * 3) == receptive_field([(7,)]) == (7, 1, 0)


def test_errors_say_what_does_not_fit():
    with pytest.raises(ValueError, match=r"conv_output_size: expected a window that fits .*; got size=3, window=5"):
        conv_output_size(3, 5)
    with pytest.raises(ValueError, match="conv_output_size: expected stride of at least 1; got stride=0"):
        conv_output_size(3, 2, 0)
    for padding in ("FULL", -1, (1, 2, 3)):
        with pytest.raises(ValueError, match="expected padding as"):
            conv_output_size(3, 2, 1, padding)
    with pytest.raises(ValueError, match=r"receptive_field, layer 1: expected \(window, stride, dilation, padding\)"):
        receptive_field([(3,), ()])
    with pytest.raises(ValueError, match="receptive_field, layer 0: expected stride of at least 1"):
        receptive_field([(3, 0)])
