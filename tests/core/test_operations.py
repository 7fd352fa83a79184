import jax
import jax.numpy as jnp

from jax231.core.operations import operations

ROW = jax.ShapeDtypeStruct((7,), jnp.float32)


def test_products_count_two_for_each_pair_of_factors():
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((5, 3, 4), (5, 4, 2)))
    assert operations(jnp.matmul, a, b) == 2 * 5 * 3 * 4 * 2
    image, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 8, 8, 6), (3, 3, 3, 10)))

    def convolve(x, k):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=2)

    assert operations(convolve, image, kernel) == 2 * (2 * 8 * 8 * 10) * (3 * 3 * 3)


def test_other_operations_count_one_for_each_entry_and_bodies_as_often_as_they_run():
    assert operations(lambda x: jnp.sin(x) * x, ROW) == 14
    assert operations(jax.jit(lambda x: jnp.sin(x) * x), ROW) == 14
    assert operations(lambda x: jax.lax.scan(lambda c, _: (c * c, None), x, length=9)[0], ROW) == 9 * 7

    def branches(x):
        return jax.lax.cond(True, lambda y: y * y * y, lambda y: y, x)

    assert operations(branches, ROW) - 14 in (0, 1)  # the index of the branch may be computed
