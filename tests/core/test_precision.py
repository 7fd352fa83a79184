import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.precision import highest, statistics_dtype


@pytest.mark.parametrize(
    ("given", "wide"),
    [
        (["bfloat16"], "float32"),
        (["float16"], "float32"),
        (["float32"], "float32"),
        (["bfloat16", "float32"], "float32"),
        (["bfloat16", "float16"], "float32"),
        (["uint8"], "float32"),
        (["int32", "bfloat16"], "float32"),
        (["bool"], "float32"),
    ],
)
def test_statistics_dtype(given, wide):
    assert statistics_dtype(*map(jnp.dtype, given)) == jnp.dtype(wide)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("given", "wide"), [("float64", "float64"), ("float32", "float32"), ("int32", "float64"), ("float16", "float32")]
)
def test_statistics_dtype_with_64_bits(given, wide):
    assert statistics_dtype(jnp.dtype(given)) == jnp.dtype(wide)


def test_highest_reaches_the_matrix_product():
    with jax.default_matmul_precision("bfloat16"), highest():
        text = str(jax.make_jaxpr(jnp.matmul)(np.ones((2, 2)), np.ones((2, 2))))
    assert "HIGHEST" in text
