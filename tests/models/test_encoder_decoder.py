import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models.encoder_decoder import encoder_decoder
from jax231.nn.bridge import functionalize
from tests.nuclei import crops, learned


def test_parameters_are_those_of_the_formula():
    params, _ = jax.eval_shape(functionalize(encoder_decoder((32, 32, 3), 5, channels=(8, 16))).init, jax.random.key(0))
    down = 9 * (3 * 8 + 8 * 8 + 8 * 16 + 16 * 16)
    up = 16 * (16 * 8 + 8 * 8)
    statistics = 2 * (8 + 8 + 16 + 16 + 8 + 8)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == down + up + statistics + 9 * 8 * 5 + 5


@pytest.mark.parametrize("size", [(1, 1), (7, 10), (13, 16)])
def test_scores_have_the_size_of_the_image_whatever_it_is(size):
    model = functionalize(encoder_decoder((*size, 3), 5, channels=(8, 16, 4), convolutions=0))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    scores, _ = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, images)
    assert scores.shape == (2, *size, 5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"encoder_decoder: expected at least one stage; got channels=\(\)"):
        encoder_decoder((8, 8, 3), 2, channels=())
    with pytest.raises(ValueError, match=r"encoder_decoder: expected images \(h, w, c\); got shape=\(8, 8\)"):
        encoder_decoder((8, 8), 2)


def test_it_learns_nuclei_by_heart(data_dir):
    losses = learned(functionalize(encoder_decoder((32, 32, 3), 3, channels=(16, 32))), crops(data_dir))
    assert abs(losses[0] / np.log(3) - 1) < 0.2
    assert losses[-1] < 0.35
