import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.models import zoo
from jax231.models.fractalnet import WIDTHS, FractalNet, fractalnet
from jax231.nn.bridge import functionalize, rate_kinds
from jax231.nn.noise import noisy
from tests.derivatives import relative_error

SHAPE, COLUMNS = (4, 4, 1), 3
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, *SHAPE)), jnp.float32)
OPTIONS = {"widths": (3, 4), "columns": COLUMNS}


class Alone(FractalNet):
    """The columns in one place of all blocks, all others left out, in training too."""

    def __call__(self, x):
        for block in self.blocks:
            x = self.pool(block.single(x, self.column or 0))
        return self.fc(self.mean(x))


def alone(column):
    return lambda rngs: Alone((3, 4), COLUMNS, 5, channels=1, column=column, rngs=rngs)


@pytest.mark.parametrize(("name", "columns"), [("fractalnet20", 3), ("fractalnet40", 4)])
def test_parameters_are_those_of_the_columns(name, columns):
    """A column of d convolutions a block has one that reads the block before, others of its own width."""
    entry = zoo.entry(name)
    params, _ = jax.eval_shape(entry.build(entry.shape, entry.classes).init, jax.random.key(0))
    expected = 512 * 10 + 10
    for cin, cout in zip((3, *WIDTHS), WIDTHS, strict=False):
        expected += sum(9 * cout * (cin + (2**k - 1) * cout) + 2**k * 2 * cout for k in range(columns))
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(params)) == expected


def test_a_column_for_the_whole_net_is_that_column_in_every_block():
    model = functionalize(fractalnet(SHAPE, 5, **OPTIONS))
    params, state = model.init(jax.random.key(0))
    rates = {"global_path": 1.0, "drop_path": 0.5}

    @jax.jit
    def everything(params):
        draw = jax.vmap(lambda key: model.apply(params, state, X, train=True, key=key, rates=rates)[0])
        key = jax.random.key(0)
        columns = [functionalize(alone(k)).apply(params, state, X, train=True, key=key)[0] for k in range(COLUMNS)]
        return draw(jax.random.split(jax.random.key(1), 12)), jnp.stack(columns)

    drawn, columns = everything(params)
    differences = jnp.abs(drawn[:, None] - columns).max((2, 3))
    assert (jnp.sort(differences, 1)[:, 0] < 1e-5 * jnp.abs(columns).max()).all(), "always one of the columns"
    assert set(np.asarray(differences.argmin(1))) == set(range(COLUMNS)), "and each of them at times"


def test_evaluation_takes_all_columns_or_one():
    params, state = functionalize(fractalnet(SHAPE, 5, **OPTIONS)).init(jax.random.key(0))

    @jax.jit
    def scores(params):
        nets = {column: fractalnet(SHAPE, 5, **OPTIONS, column=column) for column in ("all", "deepest", 1, 3)}
        nets |= {"first alone": alone(0), "last alone": alone(2)}
        return {str(name): functionalize(net).apply(params, state, X, train=False)[0] for name, net in nets.items()}

    seen = scores(params)
    np.testing.assert_array_equal(seen["deepest"], seen["3"])
    assert relative_error(seen["deepest"], seen["last alone"]) <= 1e-6
    assert relative_error(seen["1"], seen["first alone"]) <= 1e-6
    assert relative_error(seen["all"], seen["deepest"]) > 0.1


def test_paths_are_drawn_again_alike_where_blocks_are_rematerialized():
    def results(remat):
        options = {"widths": (3,), "columns": 2, "dropout": 0.3, "per_example": True, "remat": remat}
        model = functionalize(fractalnet(SHAPE, 5, **options))
        params, state = model.init(jax.random.key(0))

        def loss(params):
            scores, new = model.apply(params, state, X, train=True, key=jax.random.key(1))
            return jnp.sin(scores).sum(), new

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    kept, again = results(False), results(True)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        assert relative_error(b, a) <= 1e-4


def test_dropout_rises_from_block_to_block():
    assert rate_kinds(fractalnet(SHAPE, 5, **OPTIONS)) == ("drop_path", "global_path")
    net = fractalnet((32, 32, 3), 10, widths=(1,) * 5, columns=1, dropout=0.4)(nnx.Rngs(0))
    chances = [layer.chance() for layer in noisy(net) if layer.kind == "dropout"]  # in the first block there is none
    np.testing.assert_allclose(chances, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_images_and_columns_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"fractalnet: expected images of at least 32x32; got shape=\(28, 28, 1\)"):
        fractalnet((28, 28, 1), 10)
    for column in ("shallowest", 0, 4):
        with pytest.raises(ValueError, match='"all", "deepest", or a column from 1 to 3; got column='):
            fractalnet((32, 32, 3), 10, column=column)
