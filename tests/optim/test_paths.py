import chex
import jax
import numpy as np

from jax231.optim import paths

TREE = {"conv": {"kernel": np.ones(2), "bias": np.zeros(3)}, "head": [np.ones(1), None]}


def test_a_part_keeps_the_names_and_goes_back_into_the_whole():
    some = paths.part(TREE, paths.matching("conv/b*", "head/0"))
    chex.assert_trees_all_equal(some, {"conv": {"kernel": None, "bias": np.zeros(3)}, "head": [np.ones(1), None]})
    other = jax.tree.map(lambda x: x + 7, TREE)
    chex.assert_trees_all_equal(
        paths.whole(some, other),
        {"conv": {"kernel": np.full(2, 8.0), "bias": np.zeros(3)}, "head": [np.ones(1), None]},
    )
    chex.assert_trees_all_equal(paths.whole(paths.part(TREE, paths.everything), other), TREE)


def test_masks_are_booleans_for_optax():
    assert paths.mask(paths.kernels)(TREE) == {"conv": {"kernel": True, "bias": False}, "head": [False, None]}


def test_kernels_are_what_multiplies_inputs():
    assert paths.kernels("conv1/kernel")
    assert paths.kernels("weight")
    assert not any(map(paths.kernels, ["conv1/bias", "norm/scale", "kernel/bias", "embed/embedding"]))
