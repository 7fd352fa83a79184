"""Which layer is named when something in a training step is not finite."""

import jax
import jax.numpy as jnp
import pytest

from jax231.core.types import Batch
from jax231.functional.losses import softmax_cross_entropy
from jax231.models import zoo
from jax231.train.nan import first_not_finite


@pytest.fixture(scope="module")
def net():
    constructor = zoo.entry("two_layer").constructor((2, 2, 1), 3, hidden=4)
    params, state = zoo.entry("two_layer").build((2, 2, 1), 3, hidden=4).init(jax.random.key(0))
    batch = Batch(jax.random.normal(jax.random.key(1), (5, 2, 2, 1)), jnp.arange(5) % 3)
    return constructor, params, state, batch


def where(net, *, params=None, batch=None, loss=softmax_cross_entropy):
    constructor, usual, state, examples = net
    return first_not_finite(constructor, params or usual, state, batch or examples, loss, jax.random.key(2))


def test_nothing_where_all_is_finite(net):
    assert where(net) is None


def test_the_order_of_a_step_decides(net):
    _, params, _, batch = net
    spoilt = {**params, "scores": {**params["scores"], "bias": jnp.array([0.0, jnp.nan, 0.0])}}
    assert where(net, params=spoilt) == "parameter scores/bias"
    assert where(net, batch=batch._replace(inputs=batch.inputs.at[0, 0, 0, 0].set(jnp.inf))) == "inputs"
    huge = jax.tree.map(lambda x: 1e30 * x, params)
    assert where(net, params=huge) == "output of scores"


def test_a_loss_and_a_gradient_that_are_not_finite(net):
    assert where(net, loss=lambda scores, targets: jnp.log(-1 - jnp.square(scores).sum(-1))) == "loss"
    found = where(net, loss=lambda scores, targets: jnp.sqrt(0 * jnp.square(scores).sum(-1)))
    assert found == "gradient of the output of the model"
