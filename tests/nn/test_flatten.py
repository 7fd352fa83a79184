import jax.numpy as jnp
import numpy as np
import pytest

from jax231.nn.flatten import flatten


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 2), (3,), (0, 2, 3)])
def test_each_example_is_one_vector_in_row_major_order(shape):
    x = jnp.arange(np.prod(shape), dtype=float).reshape(shape)
    features = int(np.prod(shape[1:]))
    assert flatten(x).shape == (shape[0], features)
    np.testing.assert_array_equal(flatten(x), np.asarray(x).reshape(shape[0], features))


@pytest.mark.usefixtures("unchecked")
def test_a_single_number_is_refused():
    with pytest.raises(ValueError, match=r"flatten: expected examples along the first axis; got x=1\.0"):
        flatten(jnp.ones(()))
