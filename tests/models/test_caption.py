import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.losses import caption_cross_entropy
from jax231.functional.recurrent import lstm
from jax231.models.caption import END, NULL, START, caption, greedy
from jax231.nn.bridge import functionalize
from tests.random_weights import random_weights

N, D, V, T = 3, 4, 7, 6
RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((N, D)).astype(np.float32)
WORDS = RNG.integers(3, V, (N, T), np.int32)
SMALL = {"hidden": 5, "embedding": 3}


def test_it_is_the_functional_lstm_from_the_state_that_the_image_sets():
    model = functionalize(caption((D,), V, **SMALL))
    params, _ = random_weights(model)
    state, decoder = params["encoder"]["state"], params["decoder"]
    h0 = FEATURES @ state["kernel"] + state["bias"]
    words = decoder["embedding"]["table"][WORDS]
    _, h = jax.jit(lstm)(decoder["recurrent"]["layers"]["00"], (h0, np.zeros_like(h0)), words)
    scores, _ = jax.jit(lambda p, x: model.apply(p, {}, x, train=False))(params, (FEATURES, WORDS))
    chex.assert_trees_all_close(scores, h @ decoder["scores"]["kernel"] + decoder["scores"]["bias"], rtol=1e-5)


def test_what_stands_behind_the_end_changes_neither_loss_nor_gradient():
    model = functionalize(caption((D,), V, kind="rnn", **SMALL))
    params, _ = random_weights(model)
    given, targets = WORDS[:, :-1].copy(), WORDS[:, 1:].copy()
    targets[:, 3:] = NULL

    @jax.jit
    def both(params, words):
        def loss(params):
            return caption_cross_entropy(model.apply(params, {}, (FEATURES, words), train=True)[0], targets).mean()

        return jax.value_and_grad(loss)(params)

    other = given.copy()
    other[:, 3:] = 3 + (other[:, 3:] - 2) % (V - 3)
    chex.assert_trees_all_close(both(params, given), both(params, other), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((512,), "lstm", 513 * 512 + 1004 * 256 + 2048 * (256 + 512 + 1) + 513 * 1004),
        ((512,), "rnn", 513 * 512 + 1004 * 256 + 512 * (256 + 512 + 1) + 513 * 1004),
    ],
)
def test_parameters_are_those_of_the_assignment(shape, kind, expected):
    params, _ = jax.eval_shape(functionalize(caption(shape, 1004, kind=kind)).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize(("shape", "kind"), [((D,), "rnn"), ((8, 8, 3), "lstm")])
def test_greedy_captions_are_those_of_a_loop_over_the_whole_model(shape, kind):
    constructor = caption(shape, V, kind=kind, channels=(4,), **SMALL)
    model = functionalize(constructor)
    params, state = random_weights(model, seed=2)
    params["decoder"]["scores"]["kernel"] *= 4
    params["encoder"]["state"]["kernel"] *= 20  # different images, different captions
    images, steps = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32), 5
    tokens = jax.jit(greedy(constructor, steps))(params, state, images)

    whole = jax.jit(lambda words: model.apply(params, state, (images, words), train=False)[0])
    words = np.full((8, steps + 1), START, np.int32)
    for i in range(steps):
        best = np.asarray(whole(words[:, :-1]))[:, i].argmax(-1)
        words[:, i + 1] = np.where((words[:, 1 : i + 1] == END).any(1), NULL, best)
    np.testing.assert_array_equal(tokens, words[:, 1:])
    assert len({tuple(row) for row in tokens.tolist()}) > 1


def test_greedy_fills_up_with_null_behind_the_end():
    constructor = caption((D,), V, kind="rnn", **SMALL)
    params, _ = random_weights(functionalize(constructor))
    params["decoder"]["scores"]["bias"][END] = 100.0
    np.testing.assert_array_equal(jax.jit(greedy(constructor, 3))(params, {}, FEATURES), [[END, NULL, NULL]] * N)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"caption: expected one of rnn, lstm; got kind='gru'"):
        caption((D,), V, kind="gru")
    with pytest.raises(ValueError, match=r"caption: expected images of at least 8x8; got shape=\(4, 8, 3\)"):
        caption((4, 8, 3), V)
    with pytest.raises(
        ValueError, match=r"caption: expected features \(d,\) or images \(h, w, c\); got shape=\(4, 8\)"
    ):
        caption((4, 8), V)
    model = functionalize(caption((D,), V, **SMALL))
    params, _ = random_weights(model)
    with pytest.raises(ValueError, match=r"affine: expected"):
        model.apply(params, {}, (jnp.ones((N, D + 1)), WORDS), train=False)
