"""Every derivative of curvature on whole networks, each against the dense matrices that JAX makes of the same net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.curvature import (
    diagonal,
    ggn_diagonal,
    hessian,
    hvp,
    linearized_empirical_fisher_vp,
    linearized_ggnvp,
    loss_line,
    per_example_gradients,
)
from jax231.functional import affine, avg_pool, batch_norm_train, conv2d, dropout, softmax_cross_entropy
from jax231.models.convnet import convnet
from jax231.models.two_layer import two_layer
from jax231.nn.bridge import functionalize
from tests.curvature.closures import as_vector, rows
from tests.derivatives import relative_error

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2])


def of_the_zoo(constructor, shape):
    """A model's apply, random parameters of its shapes, inputs."""
    model = functionalize(constructor)
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    params = jax.tree.map(lambda x: RNG.normal(size=x.shape) / 2, shapes)
    return lambda params, x: model.apply(params, {}, x, train=True)[0], params, RNG.normal(size=(4, *shape))


def averaging():
    """Convolution, batch normalisation in training, average pooling, dropout by a frozen key."""
    params = {
        "conv": RNG.normal(size=(3, 3, 1, 2)) / 2,
        "norm": {"scale": 1 + RNG.normal(size=2) / 4, "bias": RNG.normal(size=2)},
        "head": {"weight": RNG.normal(size=(8, 3)) / 2, "bias": RNG.normal(size=3)},
    }

    def logits(params, x):
        h = conv2d(x, params["conv"])
        h, _, _ = batch_norm_train(h, params["norm"]["scale"], params["norm"]["bias"], np.zeros(2), np.ones(2))
        h = avg_pool(jnp.tanh(h), 2).reshape(len(x), 8)
        return affine(dropout(jax.random.key(5), h, 0.3), params["head"]["weight"], params["head"]["bias"])

    return logits, params, RNG.normal(size=(4, 4, 4, 1))


NETS = {
    "convnet with max pooling": lambda: of_the_zoo(convnet((4, 4, 1), 3, channels=(2,)), (4, 4, 1)),
    "two layers": lambda: of_the_zoo(two_layer((6,), 3, hidden=4), (6,)),
    "average pooling, batch normalisation, dropout": averaging,
}


@pytest.mark.parametrize("name", NETS)
def test_products_and_what_follows_from_them(name):
    logits, params, x = NETS[name]()
    data = jnp.asarray(x), jnp.asarray(LABELS)
    pairs = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), data)  # alone an example has no batch statistics
    flat, unravel = tree.ravel(params)
    direction = np.random.default_rng(1).normal(size=flat.size)
    steps = np.array([-0.5, 0.25])

    def losses(params, batch):
        return softmax_cross_entropy(logits(params, batch[0]), batch[1])

    def loss(params, batch=data):
        return losses(params, batch).mean()

    @jax.jit
    def both(flat, params, vector):
        def outputs(flat):
            return logits(unravel(flat), data[0]).reshape(-1)

        def of_outputs(z):
            return softmax_cross_entropy(z.reshape(4, 3), LABELS).mean()

        jacobian, inner = jax.jacrev(outputs)(flat), jax.hessian(of_outputs)(outputs(flat))
        of_losses = jax.jacrev(lambda z: softmax_cross_entropy(z.reshape(4, 3), LABELS))(outputs(flat)) @ jacobian
        truth = {
            "hessian": jax.hessian(lambda flat: loss(unravel(flat)))(flat),
            "ggn": jacobian.T @ inner @ jacobian,
            "fisher": of_losses.T @ of_losses / 4,
            "pairs": jax.lax.map(lambda pair: jax.grad(lambda flat: loss(unravel(flat), pair))(flat), pairs),
            "line": jax.lax.map(lambda t: loss(unravel(flat + t * direction)), steps),
        }
        model = (lambda p: logits(p, data[0]), lambda z: softmax_cross_entropy(z, LABELS).mean(), params)
        gradient, first = linearized_ggnvp(*model)
        return truth, {
            "gradient": gradient,
            "hessian": hessian(loss, params, block=9),
            "hvp": hvp(loss, params, vector),
            "ggnvp": first(vector),
            "fisher": linearized_empirical_fisher_vp(lambda p: losses(p, data), params)(vector),
            "diagonal": diagonal(first, params, block=9),
            "ggn diagonal": ggn_diagonal(*model, block=5),
            "pairs": per_example_gradients(loss, params, data, group=2),
            "line": loss_line(loss, params, vector, steps),
        }

    known, found = both(flat, params, unravel(jnp.asarray(direction)))
    second, first = np.asarray(known["hessian"]), np.asarray(known["ggn"])
    expected = {
        "gradient": as_vector(jax.jit(jax.grad(loss))(params)),
        "hessian": second,
        "hvp": second @ direction,
        "ggnvp": first @ direction,
        "fisher": known["fisher"] @ direction,
        "diagonal": np.diag(first),
        "ggn diagonal": np.diag(first),
        "pairs": known["pairs"],
        "line": known["line"],
    }
    assert found.keys() == expected.keys()
    for what, value in found.items():
        read = rows if what == "pairs" else as_vector
        assert relative_error(read(value).reshape(-1), np.ravel(expected[what])) <= 1e-9, what
