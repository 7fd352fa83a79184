import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import packing


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.usefixtures("x64")
def test_scalars_come_back_as_they_were(kind):
    scalars = [kind(-1.5), kind(np.nan), kind(1e-30), np.int32(2**31 - 1), np.True_, np.int32(-7), np.False_]
    types = [scalar.dtype for scalar in scalars]
    assert packing.packable(types)
    back = packing.unpacked(np.asarray(jax.jit(packing.packed)([jnp.asarray(scalar) for scalar in scalars])), types)
    for found, scalar in zip(back, scalars, strict=True):
        assert found.dtype == scalar.dtype
        np.testing.assert_array_equal(found, scalar)


def test_what_cannot_be_packed():
    for types in (["f4", "f8"], ["f2"], ["i4"], ["f4", "i8"], ["f4", "i4", "f4"], [jnp.bfloat16, "i4"]):
        assert not packing.packable([jnp.dtype(kind) for kind in types])
