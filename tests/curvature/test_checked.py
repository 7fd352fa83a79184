"""Of every function of the package that takes a loss or parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231 import curvature

KEY = jax.random.key(0)
WHOLE = {"w": np.arange(3)}
REAL = {"w": np.ones(3, np.float32)}


def squares(params):
    return jnp.sum(params["w"] ** 2)


def same(vector):
    return vector


OF_A_LOSS = {
    "hvp": lambda fun, p: curvature.hvp(fun, p, p),
    "linearized_hvp": lambda fun, p: curvature.linearized_hvp(fun, p),
    "hessian": lambda fun, p: curvature.hessian(fun, p),
    "ggnvp": lambda fun, p: curvature.ggnvp(same, fun, p, p),
    "ggn": lambda fun, p: curvature.ggn(same, fun, p),
    "ggn_diagonal": lambda fun, p: curvature.ggn_diagonal(same, fun, p),
    "per_example_gradients": lambda fun, p: curvature.per_example_gradients(lambda q, _: fun(q), p, np.ones((2, 1))),
}
OF_PARAMETERS = OF_A_LOSS | {
    "jvp": lambda fun, p: curvature.jvp(same, p, p),
    "vjp": lambda fun, p: curvature.vjp(same, p, p),
    "fisher_vp": lambda fun, p: curvature.fisher_vp(lambda q: q["w"], p, p, KEY),
    "empirical_fisher_vp": lambda fun, p: curvature.empirical_fisher_vp(lambda q: q["w"], p, p),
    "dense": lambda fun, p: curvature.dense(same, p),
    "diagonal": lambda fun, p: curvature.diagonal(same, p),
    "hutchinson_diagonal": lambda fun, p: curvature.hutchinson_diagonal(same, p, KEY),
    "hutchinson_trace": lambda fun, p: curvature.hutchinson_trace(same, p, KEY),
    "hutch_plus_plus": lambda fun, p: curvature.hutch_plus_plus(same, p, KEY),
    "lanczos": lambda fun, p: curvature.lanczos(same, p, KEY, steps=2),
    "eigenpairs": lambda fun, p: curvature.eigenpairs(same, p, KEY),
    "condition_number": lambda fun, p: curvature.condition_number(same, p, KEY),
    "sharpness": lambda fun, p: curvature.sharpness(same, p, KEY),
    "lanczos_quadrature": lambda fun, p: curvature.lanczos_quadrature(same, p, KEY),
    "loss_line": lambda fun, p: curvature.loss_line(fun, p, p, np.ones(2)),
    "loss_plane": lambda fun, p: curvature.loss_plane(fun, p, (p, p), (np.ones(2), np.ones(2))),
    "random_direction": lambda fun, p: curvature.random_direction(KEY, p),
}


@pytest.mark.parametrize("name", OF_A_LOSS)
def test_a_loss_is_one_real_number(name):
    expected = r": expected a function that returns one real number, without aux; got result="
    for fun, seen in (
        (lambda p: p["w"] ** 2, r"\(3,\)"),
        (lambda p: p["w"][:1], r"\(1,\)"),
        (lambda p: (squares(p), p), r"\("),
        (lambda p: {"loss": squares(p)}, r"\{'loss'"),
        (lambda p: jnp.argmax(p["w"]), ".*dtype=int32"),
    ):
        with pytest.raises(ValueError, match=expected + seen):
            OF_A_LOSS[name](fun, REAL)


@pytest.mark.parametrize("name", OF_PARAMETERS)
def test_parameters_are_real_numbers(name):
    """Of whole numbers no probe, eigenvector or derivative is one, and the result would be wrong in silence."""
    with pytest.raises(ValueError, match=r": expected parameters that are floating point numbers; got leaf='w', dtype"):
        OF_PARAMETERS[name](squares, WHOLE)
    with pytest.raises(ValueError, match=r": expected (at least one parameter; got shapes=\[\(0,\)\]|.*parameters=0)"):
        OF_PARAMETERS[name](squares, {"w": np.ones(0, np.float32)})


def test_every_function_that_makes_or_takes_a_product_is_here():
    """A function that is new in the package is new in this table, or takes no parameters."""
    apart = {"check_gradient", "density", "filter_lengths", "filter_normalized", "filter_scaled", "gradcheck"}
    apart |= {"noise_scale", "noise_scale_from_squares", "over_batches", "spectral_mean"}
    apart |= {"linearized_ggnvp", "linearized_fisher_vp", "linearized_empirical_fisher_vp"}  # through their products
    functions = {name for name in curvature.__all__ if not isinstance(getattr(curvature, name), type)}
    assert functions - apart == set(OF_PARAMETERS)
