import jax
import numpy as np

from jax231.core.unoptimized import jit_unoptimized


def drawn(key):
    a, b = jax.random.split(key)
    return jax.random.normal(a, (33,)), jax.random.uniform(b, (3, 5), minval=-1.0)


def test_the_bits_are_those_of_all_passes():
    passes = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    optimized = jax.jit(drawn, compiler_options=passes)(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, jit_unoptimized(drawn)(jax.random.key(3)), optimized)
