import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax231.nn.bridge import functionalize
from jax231.nn.fractal import FractalBlock, FractalConv, GlobalPath, Join
from jax231.nn.noise import noisy
from tests.derivatives import relative_error

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5, 2)), jnp.float32)
BRANCHES = [jnp.full((3, 1, 1, 1), 10.0**k) for k in range(3)]


def built(columns, **options):
    return FractalBlock(2, 3, columns, **options, rngs=nnx.Rngs(0))


def mean(*branches):
    return sum(branches) / len(branches)


def test_in_evaluation_columns_are_averaged_wherever_they_meet():
    block = built(3)
    block.eval()
    assert len(block.joins) == 2

    @nnx.jit
    def outputs(block):
        (a,), (b1, b2), (c1, c2, c3, c4) = block.columns
        middle = mean(b1(X), c2(c1(X)))
        return (block(X), mean(a(X), b2(middle), c4(c3(middle)))), (block.single(X, 1), b2(b1(X)))

    for actual, expected in outputs(block):
        assert relative_error(actual, expected) <= 1e-6


def test_blocks_follow_the_expansion_rule():
    """Of f_c, convolutions double and one more comes; one column is a convolution."""
    blocks = [nnx.eval_shape(lambda c=c: built(c)) for c in (1, 2, 3, 4)]
    counts = [sum(isinstance(layer, FractalConv) for _, layer in nnx.iter_modules(block)) for block in blocks]
    assert counts == [1, 3, 7, 15]


def test_in_training_without_drops_it_is_the_mean_too():
    block = built(2, drop_path=0.0)

    @nnx.jit
    def both(block):
        (a,), (b1, b2) = block.columns
        return block(X), mean(a(X), b2(b1(X)))

    assert relative_error(*both(block)) <= 1e-6


class OnTwo(Join):
    """A join of (branches, chosen) in one argument."""

    def __call__(self, inputs):
        return super().__call__(*inputs)


def joined(chosen, train=True):
    """What a join puts out for each of three examples, in twenty draws."""
    model = functionalize(lambda rngs: OnTwo(0.5, rngs=rngs))
    keys = jax.random.split(jax.random.key(0), 20)
    draws = jax.vmap(lambda key: model.apply({}, {}, (BRANCHES, chosen), train=train, key=key)[0])
    return np.asarray(jax.jit(draws)(keys))[:, :, 0, 0, 0]


def test_a_join_draws_once_for_the_batch_or_for_each_row_of_choices():
    means = [1, 10, 100, 5.5, 50.5, 55, 37]
    once, each = joined(None), joined(jnp.zeros((3, 4)))
    assert (once == once[:, :1]).all()
    assert (each != each[:, :1]).any()
    for drawn in (once, each):
        assert np.isclose(drawn[..., None], means).any(-1).all()
        assert len(np.unique(drawn)) > 3


def test_a_chosen_column_stays_alone_where_it_passes():
    chosen = jnp.eye(4)[jnp.array([1, 3, 0])]  # of four columns, the last three of which meet here
    np.testing.assert_allclose(joined(chosen), np.tile([1.0, 100.0, 37.0], (20, 1)), rtol=1e-6)
    np.testing.assert_allclose(joined(chosen, train=False), 37.0, rtol=1e-6)


def test_rates_of_a_block():
    block = built(2, drop_path=0.2, dropout=0.4, share=0.5)
    rates = sorted((layer.kind, round(float(layer.chance()), 6)) for layer in noisy(block))
    assert rates == [("drop_path", 0.2)] + [("dropout", 0.2)] * 3
    assert not any(layer.kind == "dropout" for layer in noisy(built(2, dropout=0.4, share=0.0)))
    assert GlobalPath(1.0, 3, rngs=nnx.Rngs(0))(5).shape == (5, 3)


def test_a_block_without_columns_is_refused():
    with pytest.raises(ValueError, match=r"FractalBlock: expected at least one column; got columns=0"):
        built(0)
