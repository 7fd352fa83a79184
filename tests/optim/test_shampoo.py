import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jax231.optim.adagrad import adagrad
from jax231.optim.rmsprop import rmsprop
from jax231.optim.shampoo import shampoo
from tests.trajectories import replay

SHAPES = {"conv": {"kernel": (2, 3, 4), "bias": (4,)}, "long": (3, 6), "scale": ()}


def gradients(steps=7):
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda shape: rng.normal(size=(steps, *shape)), SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def along(x, axis):
    """Rows are the slices of x across the axis."""
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)


def definition(grads, rate, b1, b2, eps, every, largest, grafting):
    """Algorithm 2 with its matrices in full, also the diagonal ones; one parameter."""
    gain, x, mean = (1, 1)[b2 < 1] - (b2 < 1) * b2, np.zeros(grads[0].shape), 0
    shape = grads[0].shape or (1,)
    sums, roots, squares = [np.zeros((d, d)) for d in shape], None, np.zeros(shape)
    for t, g in enumerate(grads, 1):
        g = g.reshape(shape)
        whole = 1 - b2**t if b2 < 1 else 1
        for axis, total in enumerate(sums):
            moment = along(g, axis) @ along(g, axis).T
            keep = np.eye(len(moment)) if len(moment) > largest else 1
            total[:] = b2 * total + gain * moment * keep
        squares = b2 * squares + gain * g**2
        if t <= every or (t - 1) % every == 0:
            roots = []
            for total in sums:
                values, vectors = np.linalg.eigh(total / whole + eps * np.eye(len(total)))
                roots.append(vectors @ np.diag(values ** (-0.5 / len(shape))) @ vectors.T)
        step = g
        for axis, root in enumerate(roots):
            step = np.moveaxis(np.tensordot(root, step, axes=(1, axis)), 0, axis)
        if grafting:
            step = step * np.linalg.norm(g / np.sqrt(squares / whole + eps)) / np.linalg.norm(step)
        mean = b1 * mean + (1 - b1) * step
        x = x - (rate * mean / (1 - b1**t)).reshape(x.shape)
        yield x


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "options",
    [
        {"b1": 0.0, "b2": 1.0, "eps": 1e-3, "every": 1, "largest": 9, "grafting": False},
        {"b1": 0.9, "b2": 0.8, "eps": 1e-6, "every": 2, "largest": 4, "grafting": True},
    ],
    ids=["paper", "defaults"],
)
def test_it_is_its_definition(options):
    """The second leaves one axis of six its diagonal, and takes old roots in the fourth and the sixth step."""
    grads = gradients()
    params = jax.tree.map(lambda g: np.zeros(g.shape[1:]), grads)
    tx = shampoo(0.1, **options)

    def step(carry, g):
        x, state = carry
        updates, state = tx.update(g, state, x)
        return (jax.tree.map(jnp.add, x, updates), state), jax.tree.map(jnp.add, x, updates)

    found = jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(params, grads)
    expected = jax.tree.map(lambda g: np.stack(list(definition(g, 0.1, **options))), grads)
    chex.assert_trees_all_close(found, expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_a_vector_gets_adagrad_with_the_full_matrix():
    """``x -= rate * (eps I + sum of g g') ** -1/2 g``, by SciPy's root."""
    grads = gradients()["conv"]["bias"]
    matrix, points = 1e-3 * np.eye(4), [np.zeros(4)]
    for g in grads:
        matrix = matrix + np.outer(g, g)
        points.append(points[-1] - 0.1 * np.linalg.solve(scipy.linalg.sqrtm(matrix), g))
    found = replay(shampoo(0.1, 0.0, 1.0, 1e-3, every=1, grafting=False), np.zeros(4), grads)
    chex.assert_trees_all_close(found, np.stack(points[1:]), rtol=1e-8)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("grafting", [True, False])
def test_without_matrices_a_vector_gets_the_diagonal_method(grafting):
    grads = gradients()["conv"]["bias"]
    options = {"eps": 1e-4, "every": 1, "largest": 0, "grafting": grafting}
    found = replay(shampoo(0.1, 0.0, 1.0, **options), np.ones(4), grads)
    expected = replay(adagrad(0.1, eps=1e-4, eps_inside_root=True), np.ones(4), grads)
    chex.assert_trees_all_close(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_rotation_of_a_matrix_rotates_its_steps():
    """Without grafting: on either side, as no method of single entries does."""
    grads = gradients()["long"]
    left, right = (np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0] for d in (3, 6))
    tx = shampoo(0.1, grafting=False)
    turned = replay(tx, np.zeros((3, 6)), left @ grads @ right)
    chex.assert_trees_all_close(turned, left @ np.asarray(replay(tx, np.zeros((3, 6)), grads)) @ right, rtol=1e-6)


def test_grafted_steps_have_the_length_of_those_of_rmsprop():
    grads = np.float32(gradients()["long"])
    found = replay(shampoo(0.1, 0.0, 0.9, 1e-8), np.zeros((3, 6), np.float32), grads)
    other = replay(rmsprop(0.1, 0.9, eps=1e-8), np.zeros((3, 6), np.float32), grads)
    lengths = [np.linalg.norm(np.diff(np.asarray(x), axis=0), axis=(1, 2)) for x in (found, other)]
    whole = np.sqrt(1 - 0.9 ** np.arange(2, 8))  # ours is corrected for the start at 0
    np.testing.assert_allclose(lengths[0], lengths[1] * whole, rtol=1e-4)


def test_what_never_had_a_gradient_stays():
    grads = np.float32(gradients()["long"])
    grads[:, 1] = 0
    for options in ({}, {"eps": 0.0}, {"eps": 0.0, "grafting": False, "largest": 0}):
        end = replay(shampoo(0.1, **options), np.zeros((3, 6), np.float32), grads)[-1]
        assert np.isfinite(end).all()
        assert np.abs(end[1]).max() < 1e-5 < np.abs(end[0]).min()
    assert not replay(shampoo(0.1), np.zeros((3, 6), np.float32), 0 * grads).any()


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"shampoo: expected b2 within \[0, 1\]; got b2=2.0"):
        shampoo(0.1, b2=2.0)
    with pytest.raises(ValueError, match="shampoo: expected at least one step between roots; got every=0"):
        shampoo(0.1, every=0)
    with pytest.raises(ValueError, match="shampoo: expected a largest axis of at least 0; got largest=-1"):
        shampoo(0.1, largest=-1)
