import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature.filters import filter_lengths, filter_normalized
from jax231.curvature.sharpness import filter_scaled

RNG = np.random.default_rng(0)
PARAMS = {
    "conv": {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32), "bias": np.ones(4, np.float32)},
    "head": RNG.normal(size=(5, 3)).astype(np.float32),
}


def test_lengths_filter_by_filter():
    found = filter_lengths(PARAMS)
    kernel, head = PARAMS["conv"]["kernel"], PARAMS["head"]
    expected = [np.linalg.norm(kernel[..., i]) for i in range(4)]
    chex.assert_trees_all_close(found["conv"]["kernel"], np.reshape(expected, (1, 1, 1, 4)), rtol=1e-6)
    chex.assert_trees_all_close(found["head"], np.linalg.norm(head, axis=0, keepdims=True), rtol=1e-6)
    assert found["conv"]["bias"] == 0


def test_a_normalized_direction_has_the_filters_lengths_and_its_own_directions():
    direction = {
        "conv": {"kernel": 7 * np.flip(PARAMS["conv"]["kernel"], 0), "bias": np.ones(4, np.float32)},
        "head": np.concatenate([np.ones((5, 2), np.float32), np.zeros((5, 1), np.float32)], 1),
    }
    found = filter_normalized(direction, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, direction)
    chex.assert_trees_all_close(found["conv"]["kernel"], np.flip(PARAMS["conv"]["kernel"], 0), rtol=1e-6)
    lengths = np.linalg.norm(PARAMS["head"], axis=0)
    chex.assert_trees_all_close(found["head"], np.ones((5, 1)) * lengths * [1, 1, 0] / np.sqrt(5), rtol=1e-6)
    chex.assert_trees_all_equal(found["conv"]["bias"], np.zeros(4))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_direction_has_the_types_of_the_parameters(dtype):
    params = {"w": jnp.ones((2, 2), dtype)}
    assert filter_normalized({"w": jnp.ones((2, 2), jnp.float32)}, params)["w"].dtype == dtype


def test_bad_input_is_named():
    whole = {"w": np.ones((2, 2), int)}
    for name, call in {
        "filter_lengths": lambda: filter_lengths(whole),
        "filter_normalized": lambda: filter_normalized({"w": np.ones((2, 2))}, whole),
        "filter_scaled": lambda: filter_scaled(lambda v: v, whole),
    }.items():
        with pytest.raises(ValueError, match=rf"{name}: expected parameters that are floating .*; got leaf='w', dtype"):
            call()
    with pytest.raises(ValueError, match=r"filter_normalized: expected direction as a tree .*; got direction="):
        filter_normalized({"w": np.ones((1, 2))}, {"w": np.ones((2, 2))})
