import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.core import tree
from jax231.curvature.products import ggn
from jax231.optim.kfac import Block, Factors, Layer, best_combination, damped_inverses, kfac, output_slopes, statistics
from tests.outputs import Composed, descent, step

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(8)
IMAGES, LABELS = RNG.normal(size=(10, 5, 5, 2)), RNG.integers(0, 3, 10)
STRIDED = Layer(stride=(2, 2), padding=((1, 0), (0, 1)))


def convolve(x, kernel, layer):
    return jax.lax.conv_general_dilated(
        x, kernel, layer.stride, layer.padding, rhs_dilation=layer.dilation, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def net(layer, activation):
    """A convolution, its output scaled by a parameter outside of all layers, and an affine map of all pixels."""

    def taps(params, probes):
        conv, head = params["conv"], params["block"]["head"]
        x = jnp.asarray(IMAGES, conv["bias"].dtype)
        z = convolve(x, conv["kernel"], layer) + conv["bias"] + probes["conv"]
        h = (params["scale"] * activation(z)).reshape(len(x), -1)
        return h @ head["weight"] + probes["block/head"], {"conv": x, "block/head": h}

    pixels = jax.eval_shape(lambda: convolve(IMAGES, jnp.zeros((3, 3, 2, 4)), layer)).size // len(IMAGES)
    start = {
        "conv": {"kernel": RNG.normal(size=(3, 3, 2, 4)) / 4, "bias": RNG.normal(size=4)},
        "block": {"head": {"weight": RNG.normal(size=(pixels, 3)) / 4}},
        "scale": np.array(1.3),
    }
    return taps, start, {"conv": layer, "block/head": Layer()}


def untapped(taps, layers):
    return lambda params: taps(params, dict.fromkeys(layers, 0.0))[0]


def cross_entropy(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()


def squares(outputs):
    return jnp.sum((outputs - 1.0) ** 2) / len(IMAGES)


def blocks(layers):
    names = {"conv": ("conv/kernel", "conv/bias"), "block/head": ("block/head/weight", None)}
    return {name: Block(layers[name], *names[name]) for name in layers}


@pytest.mark.parametrize("layer", [STRIDED, Layer(padding="VALID", dilation=(1, 2))])
def test_a_convolution_is_a_matrix_times_patches(layer):
    leaves = {"kernel": jnp.asarray(RNG.normal(size=(3, 2, 2, 4))), "bias": jnp.asarray(RNG.normal(size=4))}
    block = Block(layer, "kernel", "bias")
    expected = convolve(IMAGES, leaves["kernel"], layer) + leaves["bias"]
    np.testing.assert_allclose(block.seen(jnp.asarray(IMAGES), leaves) @ block.matrix(leaves), expected, rtol=1e-10)
    chex.assert_trees_all_equal(block.leaves(block.matrix(leaves), leaves), leaves)


def test_the_factors_of_a_linear_net_are_its_exact_blocks():
    """Where the kernel covers the whole image there is one position; more are taken for independent."""
    layer = Layer(padding="VALID", stride=(3, 3))
    taps, start, layers = net(layer, lambda z: z)
    start = jax.tree.map(jnp.asarray, start)
    outputs_fn = untapped(taps, layers)

    @jax.jit
    def both(params):
        found = statistics(blocks(layers), taps, squares, params, jax.random.key(0), 0, True)[0]
        return found, ggn(outputs_fn, squares, params)

    found, matrix = both(start)
    named = dict(zip(tree.names(start), jax.tree.leaves(start), strict=True))
    ends = np.cumsum([leaf.size for leaf in named.values()])
    places = {name: np.arange(end - named[name].size, end) for name, end in zip(named, ends, strict=True)}
    numbers = {name: jnp.asarray(places[name], float).reshape(named[name].shape) for name in named}
    for name, block in blocks(layers).items():
        order = np.asarray(block.matrix(numbers)).ravel().astype(int)
        exact = matrix[np.ix_(order, order)]
        np.testing.assert_allclose(np.kron(*found[name]), exact, rtol=1e-9, atol=1e-12)


def test_a_loss_that_couples_its_outputs_is_factored_exactly_and_by_samples():
    logits = jnp.asarray(RNG.normal(size=(10, 3)))
    shares = np.asarray(jax.nn.softmax(logits))
    exact = (np.eye(3) * shares[:, None] - shares[:, :, None] * shares[:, None]) / 10

    @jax.jit
    def hessians(key):
        few = output_slopes(cross_entropy, logits, key, 0, True)
        many = output_slopes(cross_entropy, logits, key, 4000, True)
        single = output_slopes(lambda z: jnp.sum(jnp.cosh(z)), logits, key, 2, False)
        return *(jnp.einsum("sni,snj->nij", c, c) for c in (few, many)), single

    few, many, single = hessians(jax.random.key(1))
    np.testing.assert_allclose(few, exact, atol=1e-15)
    np.testing.assert_allclose(many, exact, atol=1.5e-3)
    np.testing.assert_allclose((single**2).sum(0), np.cosh(logits), rtol=1e-12)


def test_pi_shares_the_damping_between_the_factors():
    a, g = (m @ m.T for m in (RNG.normal(size=(4, 6)), 0.1 * RNG.normal(size=(3, 5))))
    found = jax.jit(damped_inverses)(Factors(a, g), 0.2)
    pi = np.sqrt((np.trace(a) / 4) / (np.trace(g) / 3))
    np.testing.assert_allclose(found.inputs, np.linalg.inv(a + pi * 0.2 * np.eye(4)), rtol=1e-10)
    np.testing.assert_allclose(found.outputs, np.linalg.inv(g + 0.2 / pi * np.eye(3)), rtol=1e-10)
    nothing = jax.jit(damped_inverses)(Factors(0 * a, 0 * g), 0.2)
    np.testing.assert_allclose(nothing.inputs, 5 * np.eye(4))


def test_the_best_combination_is_that_of_the_small_system():
    root = RNG.normal(size=(6, 6))
    matrix, gradient, directions = root @ root.T, RNG.normal(size=6), RNG.normal(size=(3, 6))
    directions[2] = 0
    found, model = jax.jit(lambda g, d: best_combination(lambda v: matrix @ v, g, d, 0.5))(gradient, directions)
    damped = matrix + 0.5 * np.eye(6)
    weights = -np.linalg.solve(directions[:2] @ damped @ directions[:2].T, directions[:2] @ gradient)
    np.testing.assert_allclose(found, weights @ directions[:2], rtol=1e-9)
    np.testing.assert_allclose(model, found @ damped @ found / 2 + gradient @ found, rtol=1e-9)


def test_one_affine_layer_with_squares_is_solved_at_once():
    """Without damping, that is; with some, in a few steps. The dampings are lanes."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))

    def taps(params, probes):
        return x @ params["a"]["kernel"] + params["a"]["bias"] + probes["a"], {"a": jnp.asarray(x)}

    def builder(damping):
        return kfac(damping, layers={"a": Layer()}, samples=0, coupled=False)

    start = {"a": {"kernel": np.zeros((4, 2)), "bias": np.zeros(2)}}
    problem = Composed(untapped(taps, ["a"]), lambda z: jnp.sum((z - y) ** 2) / 9, start)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(9)]), y)[0]
    points, states = jax.jit(jax.vmap(descent(builder, problem, 20, taps=taps)))(jnp.array([0.0, 0.1]))
    for lane, at in ((0, 0), (1, -1)):
        np.testing.assert_allclose(points["a"]["kernel"][lane, at], expected[:4], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(points["a"]["bias"][lane, at], expected[4], rtol=1e-5, atol=1e-6)
    used = states.counts
    assert (used.gradient[0, 0], used.ggnvp[0, 0], used.loss[0, 0]) == (4, 2, 1)


def tapped_net():
    taps, start, layers = net(STRIDED, jnp.tanh)
    problem = Composed(untapped(taps, layers), cross_entropy, start)
    return problem, taps, lambda damping: kfac(damping, layers=layers, every=4)


NET = tapped_net()


@functools.cache
def on_net():
    problem, taps, builder = NET
    return descent(builder, problem, 25, taps=taps)


def test_it_trains_a_net_with_parameters_outside_of_its_layers():
    points, states = on_net()(0.1)
    values = jax.vmap(NET[0].value_fn)(points)
    assert values[-1] < 1e-2
    assert (np.diff(values) <= 0).all()
    assert abs(points["scale"][-1] - 1.3) > 1e-3
    turned = np.abs(np.diff(states.inverses["conv"].inputs, axis=0)).max((1, 2)) > 0
    np.testing.assert_array_equal(np.flatnonzero(turned) + 1, [1, 2, 4, 8, 12, 16, 20, 24])
    np.testing.assert_array_equal(states.counts.ggnvp, 3 * np.arange(1, 26))
    np.testing.assert_array_equal(states.counts.gradient, 3 * np.arange(1, 26))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_types_are_kept(dtype):
    problem, taps, builder = NET
    start = jax.tree.map(lambda x: jnp.asarray(x, dtype), problem.start)
    tx = builder(jnp.asarray(0.1, jnp.float64))
    state = tx.init(start)
    new = jax.eval_shape(lambda p, s: step(tx, problem, p, s, taps=taps), start, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, (start, state))
    assert state.step.dtype == state.factors["conv"].inputs.dtype == jnp.float32


def test_steps_that_are_not_numbers_stall_and_leave_the_averages_alone():
    broken = jax.tree.map(lambda x: x * np.nan, NET[0].start)
    points, states = on_net()(0.1, broken)
    assert all(np.isnan(x).all() for x in jax.tree.leaves(points))
    assert states.stalled.all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((states.factors, states.step, states.damping)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"kfac: expected at least one layer; got layers=\{\}"):
        kfac(layers={})
    with pytest.raises(ValueError, match="kfac: expected at least one step between inversions; got every=0"):
        kfac(layers={"a": Layer()}, every=0)
    with pytest.raises(ValueError, match=r"kfac: expected damping of at least 0; got damping=-1.0"):
        kfac(-1.0, layers={"a": Layer()})
    tx = kfac(layers={"a": Layer()})
    with pytest.raises(
        ValueError, match=r"kfac: expected a/kernel or a/weight, of two or four axes; got parameters=\['x'\]"
    ):
        tx.init({"x": jnp.ones(3)})
    params = {"a": {"kernel": jnp.ones((2, 2))}}
    with pytest.raises(
        ValueError, match=r"kfac: expected update\(.*\); got missing=\['outputs_fn', 'outputs_loss', 'taps'\]"
    ):
        tx.update(params, tx.init(params), params, value=jnp.ones(()), grad=params, value_fn=jnp.sum)
