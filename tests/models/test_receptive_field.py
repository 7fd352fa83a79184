"""Receptive fields: the chain rule of the course, and what a network of positive weights really lets through."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional import shapes
from jax231.functional.conv import conv2d, conv2d_transpose
from jax231.functional.norm import batch_norm_eval, local_response_norm
from jax231.functional.pool import (
    avg_pool,
    bed_of_nails_unpool,
    bilinear_upsample,
    global_avg_pool,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    nearest_unpool,
)
from jax231.models.receptive_field import Field, receptive_fields

SIZE = (44, 40)
IMAGE = jax.ShapeDtypeStruct((1, *SIZE, 2), jnp.float32)


def conv(x, window, **options):
    return conv2d(x, jnp.ones((window, window, x.shape[-1], 2)), **options)


def up(x, window=4, stride=2, padding=1):
    return conv2d_transpose(x, jnp.ones((window, window, 2, x.shape[-1])), stride=stride, padding=padding)


def inception(x):
    branches = [conv(x, 1), conv(conv(x, 1), 3), conv(conv(x, 1), 5), conv(avg_pool(x, 3, stride=1, padding=1), 1)]
    return jnp.concatenate(branches, -1)


def residual(x, stride=1):
    branch = conv(jax.nn.relu(conv(x, 3, stride=stride)), 3)
    return jax.nn.relu(branch + (x if stride == 1 else conv(x, 1, stride=stride, padding=0)))


def normalised(x):
    one, zero = jnp.ones(2), jnp.zeros(2)
    return conv(batch_norm_eval(local_response_norm(conv(x, 3), size=3), one, zero, zero, one), 3)


def unet(x):
    low = conv(x, 3, stride=2)
    return up(jnp.concatenate([up(conv(low, 3, stride=2)), low], -1))


def half_shuffled(x):
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate([jnp.swapaxes(jnp.swapaxes(conv(first, 3), 1, 2), 1, 2), second, second], -1)


GRAPHS = {
    "inception": inception,
    "residual": residual,
    "strided": lambda x: residual(inception(residual(x, 2)), 2),
    "dilated": lambda x: conv(conv(x, 3, dilation=2, stride=(2, 1)), (3), padding=((2, 1), (0, 2))),
    "normalised": normalised,
    "pooled": lambda x: max_pool(conv(max_pool(x, 3, stride=2, padding=((1, 2), (0, 1))), 3), 2),
    "transposed": lambda x: up(conv(x, 3, stride=2)),
    "thrice transposed": lambda x: conv(up(conv(x, 5, stride=3, padding=2), 3, 3, 0), 3),
    "unet": unet,
    "nearest": lambda x: conv(nearest_unpool(conv(x, 3, stride=2), 2), 3),
    "nails": lambda x: conv(bed_of_nails_unpool(conv(x, 3, stride=2), 2), 3),
    "joined": half_shuffled,
}


def seen(fun, axis):
    """Largest extent of the pixels along an axis that reach an entry: one image for each row or column of ones."""
    images = jnp.zeros((SIZE[axis - 1], *SIZE, 2))
    images = jnp.moveaxis(jnp.moveaxis(images, axis, 1).at[jnp.diag_indices(SIZE[axis - 1])].set(1.0), 1, axis)
    outputs = np.asarray(jax.jit(fun)(images))
    through = np.moveaxis(outputs, axis, 1).reshape(*outputs.shape[:1], outputs.shape[axis], -1).max(-1) > 0
    places = [np.flatnonzero(column) for column in through.T]
    return max(place[-1] - place[0] + 1 for place in places if place.size)


@pytest.mark.parametrize("name", GRAPHS)
def test_what_positive_weights_let_through(name):
    (fields,) = receptive_fields(GRAPHS[name], IMAGE)
    assert [field.size for field in fields] == [seen(GRAPHS[name], axis) for axis in (1, 2)]
    output = jax.eval_shape(GRAPHS[name], IMAGE).shape[1:3]
    ratios = [math.log2(size / out) for size, out in zip(SIZE, output, strict=True)]
    assert [abs(math.log2(field.stride) - ratio) < 0.5 for field, ratio in zip(fields, ratios, strict=True)]


def test_the_gradient_of_one_entry():
    def net(x):
        return residual(inception(conv(x, 3, stride=2)), 2)

    grad = np.asarray(jax.jit(jax.grad(lambda x: net(x)[0, 4, 4].sum()))(jnp.ones(IMAGE.shape)))[0].any(-1)
    (fields,) = receptive_fields(net, IMAGE)
    extents = [np.ptp(np.flatnonzero(grad.any(1 - axis))) + 1 for axis in (0, 1)]
    assert [field.size for field in fields] == extents


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1, 1)] * 3,
        [(7, 2, 1, 3), (3, 2, 1, 1), (3, 1, 1, 1), (3, 1, 1, 1)],
        [(5, 1, 2, 0), (2, 2), (3, 3, 1, 2), (4, 1, 3, 3)],
        [(1, 2), (3, 1), (2, 2)],
    ],
)
def test_a_chain_is_the_rule_of_the_course(layers):
    def chain(x):
        for window, stride, *rest in layers:
            dilation, padding = (*rest, *(1, 0)[len(rest) :])
            x = conv(x, window, stride=stride, dilation=dilation, padding=padding)
        return x

    expected = shapes.receptive_field(layers)
    (fields,) = receptive_fields(chain, jax.ShapeDtypeStruct((1, 64, 64, 2), jnp.float32))
    assert fields == (Field(expected.size, expected.stride),) * 2


def test_beyond_the_borders_padding_counts():
    def deep(x):
        for _ in range(6):
            x = max_pool(conv(x, 3), 2) if x.shape[1] > 1 else conv(x, 3)
        return x

    (fields,) = receptive_fields(deep, jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32))
    assert fields[0].size == shapes.receptive_field([*[(3, 1), (2, 2)] * 5, (3, 1)]).size > 32


def test_sums_over_the_image_see_what_is_summed():
    whole = (Field(SIZE[0], 0), Field(SIZE[1], 0))
    assert receptive_fields(global_avg_pool, IMAGE) == [whole]
    assert receptive_fields(lambda x: x + global_avg_pool(x)[:, None, None], IMAGE) == [whole]
    assert receptive_fields(lambda x: x.reshape(len(x), -1) @ jnp.ones((2 * math.prod(SIZE), 3)), IMAGE) == [whole]
    assert receptive_fields(lambda x: jnp.cumsum(x, 1), IMAGE) == [whole]
    rows = receptive_fields(lambda x: jnp.einsum("nhwc,wd->nhdc", x, jnp.ones((SIZE[1], 3))), IMAGE)
    assert rows == [(Field(1, 1), Field(SIZE[1], 0))]
    cut = receptive_fields(lambda x: max_pool(x, 3, stride=2).mean((1, 2)), IMAGE)  # the last row and column drop out
    assert cut == [(Field(SIZE[0] - 1, 0), Field(SIZE[1] - 1, 0))]


def test_unpooling_puts_back_anywhere_in_the_window():
    def there_and_back(x):
        y, switches = max_pool_with_switches(conv(x, 3), 2)
        return max_unpool(conv(y, 3), switches, SIZE)

    (fields,) = receptive_fields(there_and_back, IMAGE)
    assert fields == (Field(8, 1),) * 2  # three windows of two pixels, each of which sees three


def test_bilinear_interpolation_is_bounded():
    ((rows, _),) = receptive_fields(lambda x: bilinear_upsample(conv(x, 3, stride=2), 2), IMAGE)
    assert rows.stride == 1
    assert 5 <= rows.size <= 7  # the two phases count together


def test_fractions_of_a_pixel():
    ((rows, _),) = receptive_fields(lambda x: nearest_unpool(x, 2), IMAGE)
    assert (rows.size, float(rows.stride)) == (1, 0.5)


def test_several_results_arguments_and_programs_within():
    def fun(x, kernel, flag):
        inner = jax.jit(lambda x: jax.checkpoint(jnp.tanh)(conv2d(x, kernel)))(x)
        return inner, kernel + 1, jax.lax.cond(flag, lambda x: conv(x, 5), lambda x: conv(x, 1), inner)

    kernel = jax.ShapeDtypeStruct((3, 3, 2, 2), jnp.float32)
    flag = jax.ShapeDtypeStruct((), jnp.bool_)
    assert receptive_fields(fun, IMAGE, kernel, flag) == [(Field(3, 1),) * 2, None, (Field(7, 1),) * 2]
