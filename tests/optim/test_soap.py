import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.adam import adam
from jax231.optim.soap import soap
from tests.trajectories import replay

SHAPES = {"conv": {"kernel": (2, 3, 5), "bias": (4,)}, "square": (4, 4), "scale": ()}
"""One gradient has moments of full rank along every axis, so that there are no eigenvectors to choose from."""


def gradients(shape, steps=9):
    """Of different size along every axis, so that the eigenvalues are far apart."""
    g = np.random.default_rng(7).normal(size=(steps, *shape))
    for axis, size in enumerate(shape, 1):
        g = g * np.geomspace(1, 4, size).reshape(-1, *(1,) * (len(shape) - axis))
    return g


def turned(x, bases, back=False):
    for axis, basis in bases.items():
        x = np.moveaxis(np.tensordot(basis if back else basis.T, x, axes=(1, axis)), 0, axis)
    return x


def definition(grads, rate, b1, b2, eps, every, largest):
    """Algorithms 3 and 4 for one parameter, with the first step and the order of the authors' code."""
    shape = grads[0].shape
    axes = [axis for axis, d in enumerate(shape) if len(shape) > 1 and d <= largest]
    moments = {axis: np.zeros((shape[axis],) * 2) for axis in axes}
    bases, x, m, v, taken = {}, np.zeros(shape), np.zeros(shape), np.zeros(shape), 0
    for t, g in enumerate(grads):
        if bases or not axes:
            taken += 1
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * turned(g, bases) ** 2
            step = turned(m, bases) / (1 - b1**taken) / (np.sqrt(v / (1 - b2**taken)) + eps)
            x = x - rate * turned(step, bases, back=True)
        for axis in axes:
            rows = np.moveaxis(g, axis, 0).reshape(shape[axis], -1)
            moments[axis] = b2 * moments[axis] + (1 - b2) * rows @ rows.T
            if t == 0:
                bases[axis] = np.linalg.eigh(moments[axis])[1][:, ::-1]
            elif t % every == 0:
                order = np.argsort(-np.diag(bases[axis].T @ moments[axis] @ bases[axis]))
                v = np.take(v, order, axis)
                bases[axis] = np.linalg.qr(moments[axis] @ bases[axis][:, order])[0]
        yield x


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("every", "largest"), [(1, 9), (3, 4)])
def test_it_is_its_definition(every, largest):
    """With the second, an axis of five keeps the identity."""
    grads = jax.tree.map(gradients, SHAPES, is_leaf=lambda x: isinstance(x, tuple))
    params = jax.tree.map(lambda g: np.zeros(g.shape[1:]), grads)
    options = {"b1": 0.9, "b2": 0.8, "eps": 1e-8, "every": every, "largest": largest}
    tx = soap(0.1, **options)

    def step(carry, g):
        x, state = carry
        updates, state = tx.update(g, state, x)
        x = jax.tree.map(jnp.add, x, updates)
        return (x, state), (x, state)

    found, states = jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(params, grads)
    expected = jax.tree.map(lambda g: np.stack(list(definition(g, 0.1, **options))), grads)
    chex.assert_trees_all_close(found, expected, rtol=1e-8, atol=1e-12)
    for basis in jax.tree.leaves(states[0].bases):
        chex.assert_trees_all_close(
            jnp.matrix_transpose(basis) @ basis, np.broadcast_to(np.eye(basis.shape[-1]), basis.shape), atol=1e-12
        )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("shape", "largest"), [((3, 6), 0), ((4,), 9)])
def test_without_a_basis_it_is_adam(shape, largest):
    start, grads = np.zeros(shape), gradients(shape)
    found = replay(soap(0.1, 0.9, 0.95, largest=largest), start, grads)
    chex.assert_trees_all_close(found, replay(adam(0.1, b2=0.95), start, grads), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_rotation_of_a_matrix_rotates_its_steps():
    grads = gradients((3, 6))
    left, right = (np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0] for d in (3, 6))
    found = replay(soap(0.1, every=2, largest=3), np.zeros((3, 6)), grads)  # the rows alone: their moment has full rank
    turned = replay(soap(0.1, every=2, largest=3), np.zeros((3, 6)), left @ grads)
    chex.assert_trees_all_close(turned, left @ np.asarray(found), rtol=1e-7, atol=1e-10)
    other = replay(soap(0.1, every=2, largest=3), np.zeros((3, 6)), grads @ right)
    assert not np.allclose(other, np.asarray(found) @ right, rtol=1e-2)


@pytest.mark.usefixtures("x64")
def test_the_basis_follows_the_eigenvectors():
    """Gradients of one distribution: many refreshes of one power step find what an eigendecomposition finds."""
    rng = np.random.default_rng(0)
    mix = np.linalg.qr(rng.normal(size=(4, 4)))[0] * np.array([8.0, 4.0, 2.0, 1.0])
    grads = mix @ rng.normal(size=(300, 4, 50))
    tx = soap(0.1, b2=0.99, every=1, largest=4)

    def step(state, g):
        return tx.update(g, state, g)[1], None

    state, _ = jax.jit(lambda g: jax.lax.scan(step, tx.init(g[0]), g))(grads)
    moment, basis = state[0].moments["0"], state[0].bases["0"]
    inside = np.abs(np.asarray(basis).T @ np.linalg.eigh(moment)[1][:, ::-1])
    chex.assert_trees_all_close(inside, np.eye(4), atol=0.02)


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"soap: expected b1 within \[0, 1\]; got b1=-1.0"):
        soap(0.1, -1.0)
    with pytest.raises(ValueError, match="soap: expected at least one step between refreshes; got every=0"):
        soap(0.1, every=0)
    with pytest.raises(ValueError, match="soap: expected a largest axis of at least 0; got largest=-1"):
        soap(0.1, largest=-1)
