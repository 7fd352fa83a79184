import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.data import sources
from jax231.functional.losses import sequence_cross_entropy
from jax231.functional.recurrent import stacked_lstm, stacked_rnn
from jax231.models import zoo
from jax231.models.char_rnn import char_rnn, zero_carry
from jax231.nn.bridge import functionalize
from tests.random_weights import random_weights

N, T, V = 3, 6, 5
TOKENS = np.random.default_rng(0).integers(0, V, (N, T), np.int32)
KINDS = pytest.mark.parametrize(("kind", "stacked"), [("rnn", stacked_rnn), ("lstm", stacked_lstm)])


def built(**options):
    model = functionalize(char_rnn((T,), V, **options))
    return model, random_weights(model)[0]


def layers_of(params):
    return tuple(params["recurrent"]["layers"][name] for name in sorted(params["recurrent"]["layers"]))


@KINDS
@pytest.mark.parametrize("embedding", [None, 4])
def test_it_is_the_functional_stack_between_rows_and_scores(kind, stacked, embedding):
    options = {"kind": kind, "layers": 2, "hidden": 3}
    model, params = built(**options, embedding=embedding)
    table = jnp.eye(V) if embedding is None else params["embedding"]["table"]
    start = jax.tree.map(lambda x: x + 0.5, zero_carry(N, **options))

    carry, logits = jax.jit(lambda p, c, tokens: model.apply(p, {}, (c, tokens), train=False)[0])(params, start, TOKENS)
    expected, h = jax.jit(stacked)(layers_of(params), start, table[TOKENS])
    chex.assert_trees_all_close(carry, expected, rtol=1e-5)
    scores = params["scores"]
    chex.assert_trees_all_close(logits, h @ scores["kernel"] + scores["bias"], rtol=1e-5, atol=1e-7)


@KINDS
def test_two_halves_with_the_carry_between_them_are_the_whole(kind, stacked):
    del stacked
    model, params = built(kind=kind, layers=2, hidden=3)
    start = zero_carry(N, kind=kind, layers=2, hidden=3)

    @jax.jit
    def both_ways(params, tokens):
        run = lambda carry, tokens: model.apply(params, {}, (carry, tokens), train=False)[0]  # noqa: E731
        (middle, first), whole = run(None, tokens[:, : T // 2]), run(start, tokens)
        end, second = run(middle, tokens[:, T // 2 :])
        return (end, jnp.concatenate([first, second], 1)), whole

    chex.assert_trees_all_close(*both_ways(params, TOKENS), rtol=1e-5, atol=1e-7)


def test_a_token_changes_no_score_before_it():
    model, params = built(kind="lstm", layers=2, hidden=3)
    logits = lambda tokens: model.apply(params, {}, (None, tokens), train=False)[0][1]  # noqa: E731
    other = TOKENS.copy()
    other[:, 3] = (other[:, 3] + 1) % V
    before, after = map(jax.jit(logits), (TOKENS, other))
    chex.assert_trees_all_equal(before[:, :3], after[:, :3])
    assert bool(jnp.all(jnp.any(before[:, 3:] != after[:, 3:], -1)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "rnn", "layers": 1}, 65 * 128 + 128 * 128 + 128 + 128 * 65 + 65),
        ({"kind": "lstm", "layers": 3, "hidden": 512}, 4 * 512 * (65 + 512 + 1 + 2 * (2 * 512 + 1)) + 513 * 65),
        ({"kind": "lstm", "layers": 1, "embedding": 16}, 65 * 16 + 4 * 128 * (16 + 128 + 1) + 129 * 65),
    ],
)
def test_parameters_are_those_of_the_formulas(options, expected):
    params, state = jax.eval_shape(functionalize(char_rnn((50,), 65, **options)).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    assert not jax.tree.leaves(state)


def test_dropout_thins_what_goes_up_and_leaves_the_carry_of_the_lowest_layer():
    model, params = built(kind="lstm", layers=2, hidden=8, dropout=0.5)

    @jax.jit
    def run(params, key, rate):
        return model.apply(params, {}, (None, TOKENS), train=True, key=key, rates={"dropout": rate})[0]

    (low, high), _ = run(params, jax.random.key(0), 0.5)
    (low_again, high_again), logits = run(params, jax.random.key(1), 0.5)
    chex.assert_trees_all_equal(low, low_again)
    assert bool(jnp.any(high[0] != high_again[0]))
    whole = jax.jit(lambda p: model.apply(p, {}, (None, TOKENS), train=False)[0])(params)
    chex.assert_trees_all_close(run(params, jax.random.key(0), 0.0), whole, rtol=1e-5, atol=1e-7)
    assert bool(jnp.any(logits != whole[1]))


def test_entries_of_the_zoo_take_any_size_of_theirs():
    entry = zoo.entry("char_lstm")
    params, _ = jax.eval_shape(entry.build((50,), 65, hidden=512, layers=1).init, jax.random.key(0))
    assert params["recurrent"]["layers"]["00"]["wh"].shape == (512, 2048)
    assert entry.loss_function((None, jnp.zeros((2, 3, 65))), jnp.zeros((2, 3), int)).shape == (2,)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"char_rnn: expected one of rnn, lstm; got kind='gru'"):
        char_rnn((T,), V, kind="gru")
    with pytest.raises(ValueError, match=r"zero_carry: expected at least one layer of one unit; got layers=0"):
        zero_carry(2, layers=0)
    with pytest.raises(ValueError, match=r"char_rnn: expected the shape of one text, \(t,\); got shape=\(8, 8, 1\)"):
        char_rnn((8, 8, 1), V)
    model, params = built(hidden=3)
    with pytest.raises(ValueError, match=r"embedding: expected tokens within \[0, 5\)"):
        model.apply(params, {}, (None, np.full((1, 2), 5)), train=False)
    with pytest.raises(ValueError, match=r"rnn: expected h0 of shape \(3, 3\)"):
        model.apply(params, {}, (zero_carry(2, hidden=3), TOKENS), train=False)


def test_it_learns_a_line_of_shakespeare(data_dir):
    text = sources.load_text("tiny_shakespeare", data_dir)
    codes = jnp.asarray(text.train[:129]).reshape(1, -1)
    model = functionalize(char_rnn((128,), 65, kind="lstm", layers=1, hidden=64))
    tx = optax.adam(0.02)

    @jax.jit
    def train(key):
        def loss(params):
            _, logits = model.apply(params, {}, (None, codes[:, :-1]), train=True)[0]
            return sequence_cross_entropy(logits, codes[:, 1:]).mean()

        def step(train, _):
            params, opt = train
            value, grads = jax.value_and_grad(loss)(params)
            updates, opt = tx.update(grads, opt)
            return (optax.apply_updates(params, updates), opt), value

        params, _ = model.init(key)
        return jax.lax.scan(step, (params, tx.init(params)), length=150)[1]

    losses = train(jax.random.key(0))
    assert abs(losses[0] / np.log(65) - 1) < 0.05
    assert losses[-1] < 0.2
