"""Small programs, compiled by XLA for a CPU as one function instead of a kernel for every few operations.

XLA starts the kernels of a program one by one, each in a fraction of a microsecond, which for arrays of a few numbers
is most of the time. It compiles a loop that touches less than 1 kB as one function; by the attribute that it marks such
a loop with, larger parts can be asked for. What a part consists of has to be looked at before: kernels of libraries,
of sorting or of scattering have no place in a function, and XLA refuses to compile them there.
"""

import math
from types import MappingProxyType
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import get_opaque_trace_state

from jax231.core.operations import programs
from jax231.core.types import PyTree

OPTIONS = MappingProxyType({"xla_cpu_experimental_ynn_fusion_type": ""})
"""Compiler's options of a program with such a part: no library's kernels, for sums and products either."""

LARGEST = 16384
"""Entries of the largest array, and multiplications of the largest product, that such a part may have. L-BFGS with ten
pairs on Rosenbrock's function, 64 bits, took 0.3 of the time of ordinary kernels with 10 and 100 parameters, 0.4 with
300, 0.5 with 1,000, 0.7 with 2,000 and 3 with 10,000."""

ATTRIBUTES = {"xla_cpu_small_call": "true", "inlineable": "false"}

ARITHMETIC = """abs acos acosh add add_any asin asinh atan atan2 atanh cbrt ceil clamp cos cosh div erf erf_inv erfc exp
    exp2 expm1 floor integer_pow is_finite log log1p logistic max min mul neg pow rem round rsqrt sign sin sinh sqrt
    square sub tan tanh and or xor not eq ne lt le gt ge select_n shift_left shift_right_arithmetic shift_right_logical
    bitcast_convert_type convert_element_type copy stop_gradient"""

SHAPES = """broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims gather iota pad reshape rev
    slice split squeeze stack transpose unstack"""

SUMS = """argmax argmin cummax cummin cumprod cumsum dot_general reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum reduce_xor"""

CONTROL = "closed_call cond custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr custom_vmap_call jit pjit scan while"

KNOWN = frozenset(f"{ARITHMETIC} {SHAPES} {SUMS} {CONTROL}".split())
"""Operations that XLA can compile into a function."""


def fits(program: Any) -> bool:
    """Whether all of `program`, a jaxpr, can be compiled as one function, and is better so."""
    return all(map(_fits, program.eqns))


def _fits(equation: Any) -> bool:
    if equation.primitive.name not in KNOWN:
        return False
    sizes = [math.prod(getattr(array.aval, "shape", ())) for array in (*equation.invars, *equation.outvars)]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        sizes.append(sizes[-1] * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted))
    return max(sizes) <= LARGEST and all(fits(inner) for value in equation.params.values() for inner in programs(value))


def mark(results: PyTree) -> PyTree:
    """`results` of a call of a jitted function, which is then compiled as one function."""
    leaves, structure = jax.tree.flatten(results)
    return jax.tree.unflatten(structure, [set_xla_metadata(leaves[0], **ATTRIBUTES), *leaves[1:]])


def at_top() -> bool:
    """Whether nothing is being traced, so that a program may have options of the compiler's of its own."""
    return get_opaque_trace_state(convention="nnx") == OUTSIDE


with jax.core.ensure_compile_time_eval():
    OUTSIDE = get_opaque_trace_state(convention="nnx")
