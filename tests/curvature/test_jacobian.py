import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.jacobian import jvp, vjp
from tests.curvature.closures import as_vector
from tests.derivatives import relative_error

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 2))
PARAMS = {"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=3)}
VECTOR = {"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=3)}
WEIGHTS = {"z": RNG.normal(size=(4, 3)), "mean": RNG.normal(size=3)}


def outputs_fn(params):
    z = jnp.tanh(X @ params["w"] + params["b"])
    return {"z": z, "mean": z.mean(0) ** 2}


def test_products_are_those_of_the_jacobian_written_down():
    """``d tanh = (1 - z^2) d``, entry by entry."""
    (outputs, forward), (again, backward) = jax.jit(
        lambda p, v, u: (jvp(outputs_fn, p, v), vjp(outputs_fn, p, u))
    )(PARAMS, VECTOR, WEIGHTS)  # fmt: skip
    z = np.tanh(X @ PARAMS["w"] + PARAMS["b"])
    slope = (1 - z**2) * (X @ VECTOR["w"] + VECTOR["b"])
    expected = {"z": slope, "mean": 2 * z.mean(0) * slope.mean(0)}
    pulled = (1 - z**2) * (WEIGHTS["z"] + 2 * z.mean(0) * WEIGHTS["mean"] / 4)
    chex.assert_trees_all_equal(outputs, again)
    assert relative_error(outputs["z"], z) <= 1e-14
    assert relative_error(as_vector(forward), as_vector(expected)) <= 1e-13
    assert relative_error(as_vector(backward), as_vector({"w": X.T @ pulled, "b": pulled.sum(0)})) <= 1e-13


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"jvp: expected vector as a tree .*; got vector=\[\(1,\), \(2, 3\)\]"):
        jvp(outputs_fn, PARAMS, {**VECTOR, "b": np.ones(1)})
    with pytest.raises(ValueError, match=r"vjp: expected weights as a tree .*; got weights=\[\(4, 3\)\]"):
        vjp(outputs_fn, PARAMS, {"z": WEIGHTS["z"]})
    with pytest.raises(ValueError, match=r"jvp: expected parameters that are floating .*; got leaf='w', dtype='int64'"):
        jvp(outputs_fn, {"w": np.ones((2, 3), int)}, VECTOR)
