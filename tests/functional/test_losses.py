import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax231.functional.losses import (
    auxiliary_cross_entropy,
    binary_cross_entropy,
    caption_cross_entropy,
    mean_squared_error,
    multiclass_hinge,
    pixelwise_cross_entropy,
    sequence_cross_entropy,
    softmax_cross_entropy,
    squared_hinge,
)
from tests.derivatives import assert_derivatives, relative_error

SCORES = 3 * np.random.default_rng(0).standard_normal((6, 4))
LABELS = np.array([0, 3, 2, 1, 1, 0])
BY_CLASS = [multiclass_hinge, squared_hinge, softmax_cross_entropy]


def hinge_by_loop(scores, labels, margin, power):
    losses = np.zeros(len(scores))
    for i, y in enumerate(labels):
        for j in range(scores.shape[1]):
            if j != y:
                losses[i] += max(0, scores[i, j] - scores[i, y] + margin) ** power
    return losses


def cross_entropy_by_loop(logits, labels, smoothing=0.0):
    losses, k = np.zeros(len(logits)), logits.shape[1]
    for i, y in enumerate(labels):
        total = sum(np.exp(s) for s in logits[i])
        for j in range(k):
            target = (1 - smoothing) * (j == y) + smoothing / k
            losses[i] -= target * np.log(np.exp(logits[i, j]) / total)
    return losses


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_hinges_are_their_definitions(margin):
    scores = SCORES.astype(np.float32)
    for loss, power in [(multiclass_hinge, 1), (squared_hinge, 2)]:
        expected = hinge_by_loop(scores.astype(np.float64), LABELS, margin, power)
        assert relative_error(jax.jit(loss)(scores, LABELS, margin), expected) <= 1e-6


def test_the_hinge_of_the_course_s_cat_car_and_frog():
    scores = jnp.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    chex.assert_trees_all_close(multiclass_hinge(scores, jnp.arange(3)), jnp.array([2.9, 0.0, 12.9]), rtol=1e-6)
    chex.assert_trees_all_close(softmax_cross_entropy(scores[:1], jnp.array([0])), jnp.array([2.0404]), rtol=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_softmax_cross_entropy_is_its_definition(smoothing):
    logits = SCORES.astype(np.float32)
    expected = cross_entropy_by_loop(logits.astype(np.float64), LABELS, smoothing)
    assert relative_error(softmax_cross_entropy(logits, LABELS, smoothing=smoothing), expected) <= 1e-6
    swept = jax.jit(lambda s: softmax_cross_entropy(logits, LABELS, smoothing=s))(smoothing)
    assert relative_error(swept, expected) <= 1e-6


def test_start_losses_of_equal_scores():
    equal = jnp.full((2, 10), 7.0)
    labels = jnp.array([3, 9])
    chex.assert_trees_all_close(multiclass_hinge(equal, labels, 1.5), jnp.full(2, 9 * 1.5))
    chex.assert_trees_all_close(squared_hinge(equal, labels), jnp.full(2, 9.0))
    chex.assert_trees_all_close(softmax_cross_entropy(equal, labels), jnp.full(2, np.log(10)))


@pytest.mark.parametrize("loss", BY_CLASS)
def test_a_shift_of_all_scores_changes_nothing(loss):
    chex.assert_trees_all_close(loss(jnp.asarray(SCORES) + 5, LABELS), loss(SCORES, LABELS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", BY_CLASS)
def test_leading_axes_are_free(loss):
    scores, labels = SCORES.reshape(2, 3, 4), LABELS.reshape(2, 3)
    chex.assert_trees_all_close(loss(scores, labels), loss(SCORES, LABELS).reshape(2, 3))
    assert loss(SCORES[0], LABELS[0]).shape == ()
    assert loss(SCORES[:0], LABELS[:0]).shape == (0,)
    chex.assert_trees_all_close(jax.vmap(loss)(jnp.asarray(SCORES), jnp.asarray(LABELS)), loss(SCORES, LABELS))


def test_large_logits_neither_overflow_nor_lose_their_derivatives():
    logits = jnp.array([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]])
    labels = jnp.array([0, 0])
    chex.assert_trees_all_close(softmax_cross_entropy(logits, labels), jnp.array([0.0, 2e4]))
    gradient = jax.jit(jax.grad(lambda z: softmax_cross_entropy(z, labels).sum()))
    chex.assert_trees_all_close(gradient(logits), jnp.array([[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]]))
    chex.assert_trees_all_close(jax.jvp(gradient, (logits,), (logits,))[1], jnp.zeros((2, 3)))

    z, y = jnp.array([1e4, -1e4, 1e4, -1e4]), jnp.array([1, 0, 0, 1])
    chex.assert_trees_all_close(binary_cross_entropy(z, y), jnp.array([0.0, 0.0, 1e4, 1e4]))
    gradient = jax.jit(jax.grad(lambda z: binary_cross_entropy(z, y).sum()))
    chex.assert_trees_all_close(gradient(z), jnp.array([0.0, 0.0, 1.0, -1.0]))
    chex.assert_trees_all_close(jax.jvp(gradient, (z,), (z,))[1], jnp.zeros(4))


def test_a_class_ruled_out_by_minus_infinity_is_no_class():
    logits = jnp.asarray(SCORES, jnp.float32)
    ruled_out = jnp.concatenate([logits, jnp.full((6, 1), -jnp.inf)], 1)
    chex.assert_trees_all_close(softmax_cross_entropy(ruled_out, LABELS), softmax_cross_entropy(logits, LABELS))
    chex.assert_tree_all_finite(jax.grad(lambda z: softmax_cross_entropy(z, LABELS).sum())(ruled_out))


def test_the_hinge_has_gradient_zero_at_the_kink():
    scores, label = jnp.array([2.0, 1.0, 0.5]), jnp.array(0)  # class 1 stands exactly at the margin
    for loss in (multiclass_hinge, squared_hinge):
        gradient = jax.grad(lambda s, loss=loss: loss(s, label))
        both = jax.jvp(gradient, (scores,), (scores,))
        chex.assert_trees_all_equal(both, (jnp.zeros(3), jnp.zeros(3)))


@pytest.mark.parametrize("loss", BY_CLASS)
def test_nan_scores_and_traced_labels_out_of_range_give_nan(loss):
    assert bool(jnp.isnan(loss(jnp.array([jnp.nan, 1.0, 2.0]), 1)))
    assert bool(jnp.isnan(loss(jnp.array([jnp.nan, 1.0, 2.0]), 0)))
    losses = jax.jit(loss)(SCORES[:3], jnp.array([-1, 4, 1]))
    chex.assert_trees_all_equal(jnp.isnan(losses), jnp.array([True, True, False]))


@pytest.mark.parametrize("loss", BY_CLASS)
def test_losses_of_bfloat16_are_float32(loss):
    narrow = jnp.asarray(SCORES, jnp.bfloat16)
    chex.assert_trees_all_equal(loss(narrow, LABELS), loss(narrow.astype(jnp.float32), LABELS))
    assert mean_squared_error(narrow, narrow).dtype == jnp.float32
    assert binary_cross_entropy(narrow, jnp.zeros(narrow.shape)).dtype == jnp.float32


def test_sequence_cross_entropy_is_the_mean_over_the_steps_that_count():
    logits = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
    labels = np.array([[0, 1, 2, 3], [4, 4, 0, 0], [1, 1, 1, 1]])
    lengths = np.array([4, 2, 0])
    mask = np.arange(4) < lengths[:, None]
    each = cross_entropy_by_loop(logits.reshape(12, 5).astype(np.float64), labels.ravel()).reshape(3, 4)
    expected = np.array([each[0].mean(), each[1, :2].mean(), 0.0])
    assert relative_error(jax.jit(sequence_cross_entropy)(logits, labels, mask), expected) <= 1e-6
    assert relative_error(sequence_cross_entropy(logits, labels), each.mean(1)) <= 1e-6
    assert sequence_cross_entropy(logits[:, :0], labels[:, :0]).tolist() == [0, 0, 0]


def test_masked_steps_have_no_influence_whatever_stands_there():
    mask = jnp.array([[True, True, False]])
    logits = jnp.asarray(SCORES[:3], jnp.float32)[None]
    garbage, labels = logits.at[0, 2].set(jnp.nan), jnp.array([[1, 2, -100]])
    value, gradient = jax.value_and_grad(lambda z: sequence_cross_entropy(z, labels, mask)[0])(garbage)
    chex.assert_trees_all_close(value, sequence_cross_entropy(logits[:, :2], labels[:, :2])[0])
    assert gradient[0, 2].tolist() == [0, 0, 0, 0]
    chex.assert_tree_all_finite(gradient)


def test_pixelwise_cross_entropy_leaves_void_pixels_out():
    logits = np.random.default_rng(2).standard_normal((2, 2, 3, 4)).astype(np.float32)
    labels = np.array([[[0, 1, 255], [3, 255, 2]], [[255] * 3] * 2])
    each = cross_entropy_by_loop(logits[0].reshape(6, 4).astype(np.float64), [0, 1, 0, 3, 0, 2])
    expected = np.array([each[[0, 1, 3, 5]].mean(), 0.0])
    assert relative_error(jax.jit(lambda z: pixelwise_cross_entropy(z, labels, ignore=255))(logits), expected) <= 1e-6
    plain = pixelwise_cross_entropy(logits[:1], np.zeros((1, 2, 3), int))
    assert relative_error(plain, [cross_entropy_by_loop(logits[0].reshape(6, 4), [0] * 6).mean()]) <= 1e-6


def test_mean_squared_error_and_binary_cross_entropy_are_their_definitions():
    rng = np.random.default_rng(3)
    z, y = rng.standard_normal((2, 5, 3)).astype(np.float32)
    expected = [np.mean([(float(z[i, j]) - float(y[i, j])) ** 2 for j in range(3)]) for i in range(5)]
    assert relative_error(mean_squared_error(z, y), expected) <= 1e-6
    p = rng.random((5, 3)).astype(np.float32)
    s = 1 / (1 + np.exp(-z.astype(np.float64)))
    expected = -(p * np.log(s) + (1 - p) * np.log(1 - s)).mean(1)
    assert relative_error(binary_cross_entropy(z, p), expected) <= 1e-6
    assert mean_squared_error(z[:, 0], y[:, 0]).shape == (5,)
    small = binary_cross_entropy(jnp.array([30.0]), jnp.array([1]))  # log(1 + exp(-30))
    assert relative_error(small, [np.log1p(np.exp(-30.0))]) <= 1e-6
    assert bool(jnp.isnan(jax.jit(binary_cross_entropy)(jnp.zeros(1), jnp.array([2.0]))[0]))


def test_binary_cross_entropy_is_the_softmax_of_two_classes():
    z = jnp.linspace(-4.0, 4.0, 5)
    labels = jnp.array([0, 1, 0, 1, 1])
    two = jnp.stack([jnp.zeros(5), z], 1)
    chex.assert_trees_all_close(binary_cross_entropy(z, labels), softmax_cross_entropy(two, labels), rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_derivatives():
    mask = np.array([[True, True, False], [True, False, False]])

    def losses(scores, targets, smoothing, margin):
        return (
            multiclass_hinge(scores, LABELS),
            squared_hinge(scores, LABELS, margin),
            softmax_cross_entropy(scores, LABELS),
            softmax_cross_entropy(scores, LABELS, smoothing=smoothing),
            sequence_cross_entropy(scores.reshape(2, 3, 4), LABELS.reshape(2, 3), mask),
            pixelwise_cross_entropy(scores.reshape(1, 2, 3, 4), LABELS.reshape(1, 2, 3), ignore=1),
            mean_squared_error(scores, targets),
            binary_cross_entropy(scores, targets),
        )

    scores = jnp.asarray(SCORES)
    assert_derivatives(losses, scores, 0.5 + 0.3 * jnp.sin(scores), jnp.array(0.2), jnp.array(0.7))


@pytest.mark.usefixtures("x64")
def test_cross_entropies_are_those_of_optax():
    smooth = optax.smooth_labels(jax.nn.one_hot(LABELS, 4), 0.1)
    ours = softmax_cross_entropy(SCORES, LABELS, smoothing=0.1)
    chex.assert_trees_all_close(ours, optax.softmax_cross_entropy(SCORES, smooth), rtol=1e-12)
    targets = np.random.default_rng(4).random(SCORES.shape)
    theirs = optax.sigmoid_binary_cross_entropy(SCORES, targets).mean(1)
    chex.assert_trees_all_close(binary_cross_entropy(SCORES, targets), theirs, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_losses_and_their_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    nn = torch.nn.functional
    labels = torch.tensor(LABELS)

    def both(theirs):
        z = torch.tensor(SCORES, requires_grad=True)
        value = theirs(z)
        value.backward()
        return value.detach().numpy(), z.grad.numpy()

    pairs = [
        (lambda z: softmax_cross_entropy(z, LABELS).mean(), lambda z: nn.cross_entropy(z, labels)),
        (
            lambda z: softmax_cross_entropy(z, LABELS, smoothing=0.1).mean(),
            lambda z: nn.cross_entropy(z, labels, label_smoothing=0.1),
        ),
        (lambda z: multiclass_hinge(z, LABELS, 0.5).mean() / 4, lambda z: nn.multi_margin_loss(z, labels, margin=0.5)),
        (
            lambda z: pixelwise_cross_entropy(z.reshape(1, 2, 3, 4), LABELS.reshape(1, 2, 3), ignore=1)[0],
            lambda z: nn.cross_entropy(z, labels, ignore_index=1),
        ),
        (
            lambda z: binary_cross_entropy(z, np.eye(4)[LABELS]).mean(),
            lambda z: nn.binary_cross_entropy_with_logits(z, nn.one_hot(labels, 4).double()),
        ),
    ]
    for ours, theirs in pairs:
        chex.assert_trees_all_close(jax.value_and_grad(ours)(jnp.asarray(SCORES)), both(theirs), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("loss", BY_CLASS)
def test_errors_of_losses_by_class(loss):
    one_hot = np.eye(4)[LABELS]
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}: expected one class index .*; got scores=\(6, 4\), labels=\(6, 4\)"):
        loss(SCORES, one_hot)
    with pytest.raises(ValueError, match=rf"{name}: expected one class index .*labels=\(6, 1\)"):
        loss(SCORES, LABELS[:, None])
    with pytest.raises(ValueError, match=rf"{name}: expected labels of an integer type.*dtype='float"):
        loss(SCORES, LABELS.astype(np.float32))
    with pytest.raises(ValueError, match=rf"{name}: expected labels within \[0, 4\); got smallest=1, largest=4"):
        loss(SCORES[:2], np.array([4, 1]))


def test_errors_name_what_does_not_fit():
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: expected smoothing within \[0, 1\]"):
        softmax_cross_entropy(SCORES, LABELS, smoothing=1.1)
    with pytest.raises(ValueError, match=r"mean_squared_error: expected both of one shape .*=\(6,\), targets=\(6, 1\)"):
        mean_squared_error(SCORES[:, 0], SCORES[:, :1])
    with pytest.raises(ValueError, match=r"binary_cross_entropy: expected both of one shape .*labels=\(6,\)"):
        binary_cross_entropy(SCORES, LABELS)
    with pytest.raises(ValueError, match=r"binary_cross_entropy: expected labels within \[0, 1\]"):
        binary_cross_entropy(SCORES[:, 0], LABELS)
    logits, labels = SCORES.reshape(2, 3, 4), LABELS.reshape(2, 3)
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: expected a mask of booleans.*"):
        sequence_cross_entropy(logits, labels, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: expected logits with 3 axes \(n t v\)"):
        sequence_cross_entropy(SCORES, LABELS)
    with pytest.raises(ValueError, match=r"pixelwise_cross_entropy: expected logits with 4 axes"):
        pixelwise_cross_entropy(logits, labels)
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: expected labels and mask of .*mask=\(2, 1\)"):
        sequence_cross_entropy(logits, labels, np.ones((2, 1), bool))
    with pytest.raises(ValueError, match=r"sequence_cross_entropy: expected labels within \[0, 4\)"):
        sequence_cross_entropy(logits, labels + 1)
    with pytest.raises(ValueError, match=r"pixelwise_cross_entropy: expected labels within \[0, 4\); .*largest=255"):
        pixelwise_cross_entropy(np.zeros((1, 1, 2, 4)), np.array([[[0, 255]]]))
    with pytest.raises(ValueError, match=r"pixelwise_cross_entropy: expected labels of an integer type"):
        pixelwise_cross_entropy(np.zeros((1, 1, 2, 4)), np.zeros((1, 1, 2)))


def test_a_caption_s_cross_entropy_is_the_mean_over_its_words():
    logits, words = SCORES[None, :5].repeat(2, 0).astype(np.float32), np.array([[3, 1, 2, 0, 0], [1, 1, 3, 2, 3]])
    by_word = np.stack(
        [cross_entropy_by_loop(row.astype(np.float64), label) for row, label in zip(logits, words, strict=True)]
    )
    expected = [by_word[0, :3].mean(), by_word[1].mean()]
    assert relative_error(jax.jit(caption_cross_entropy)(logits, words), expected) <= 1e-6
    other = caption_cross_entropy(logits, words, null=3)[0]
    assert relative_error(other, by_word[0, 1:].mean()) <= 1e-6


def test_auxiliary_cross_entropy_adds_a_share_of_every_head_s():
    heads = [np.float32(factor) * SCORES.astype(np.float32) for factor in (1.0, -0.5, 2.0)]
    main, first, second = [cross_entropy_by_loop(scores.astype(np.float64), LABELS) for scores in heads]
    swept = jax.jit(auxiliary_cross_entropy)
    assert relative_error(swept(tuple(heads), LABELS), main + 0.3 * (first + second)) <= 1e-6
    assert relative_error(swept(tuple(heads), LABELS, 0.5), main + 0.5 * (first + second)) <= 1e-6
    np.testing.assert_array_equal(auxiliary_cross_entropy(heads[0], LABELS), softmax_cross_entropy(heads[0], LABELS))
    equal = jnp.zeros((1, 10))
    np.testing.assert_allclose(auxiliary_cross_entropy((equal,) * 3, jnp.zeros(1, int)), 1.6 * np.log(10), rtol=1e-6)
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: expected one class index an example"):
        auxiliary_cross_entropy((heads[0], heads[1][:3]), LABELS)
