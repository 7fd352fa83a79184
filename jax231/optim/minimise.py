"""A minimum of a function, found by one compiled loop: any second-order method of the catalog, any pytree."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.checks import is_concrete, require
from jax231.core.types import PyTree, Scalar
from jax231.optim.result import Result, Status
from jax231.optim.run import Limits, Program, parts, prepare

__all__ = ["Result", "Status", "minimise"]


def minimise(
    fun: Callable[..., Any],
    x0: PyTree,
    args: tuple[Any, ...] = (),
    *,
    method: str | optax.GradientTransformationExtraArgs = "lbfgs",
    options: Mapping[str, Any] | None = None,
    bounds: tuple[PyTree, PyTree] | None = None,
    gtol: Scalar = 1e-5,
    ftol: Scalar = 0.0,
    max_steps: int = 10_000,
    has_aux: bool = False,
    history: bool = False,
) -> Result:
    """Minimise ``fun(x, *args)`` from `x0`.

    `method` is a second-order entry of the catalog, built with `options`, or a transformation of one's own, whose state
    may have `counts`, `stalled` and `kept` as theirs have. The run ends where the largest entry of the gradient is at
    most `gtol` (SciPy's meaning, and the only thing that is called convergence), where a step lowers the value by at
    most ``ftol * max(|value before|, |value after|, 1)`` (SciPy's L-BFGS-B; 0 never does), where no step lowers it, or
    after `max_steps`. That a run does not converge is told, not raised.

    L-BFGS keeps up to 100 pairs, the more the dearer a gradient is (`run.worthwhile_pairs`), unless `options` give
    it a ``memory``.

    `bounds` is a pair (lower, upper), each a number or a tree like `x0`, with -inf and inf for open sides; "lbfgs" is
    then `jax231.optim.lbfgs_projected`. The start is moved to the nearest point within them, `fun` is evaluated within
    them only, and the gradient that counts is the projected one, as in SciPy's L-BFGS-B.

    The program is compiled once for a function, a method and the shapes: what changes between calls belongs into
    `args`, and `fun` should be the same object each time; other tolerances and bounds compile nothing either. Under
    `jax.vmap` over starts or arguments a lane that has ended stays as it is while the others go on; for many starts see
    `jax231.optim.multi_start`.

    On a CPU most of a cheap function's time goes into the starting of XLA's kernels, a dozen a step. A loop that
    carries less than a limit, 1 kB by default, is compiled as one function instead; more of it, set before jax is
    imported, is worth much here: with ``XLA_FLAGS=--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=
    262144`` Rosenbrock's function of 100 dimensions took a fifth of the time. Large matrix products lose by it.

    Raises:  ValueError for parameters that are not real floating-point numbers, a start or its value that is not finite
             (where it can be seen), a function that returns no scalar, or returns more without `has_aux`, a method that
             needs a step size, a negative tolerance, bounds with another method than "lbfgs" or of another form than
             the parameters, or a lower one above its upper one (where it can be seen).
    Source:  Nocedal & Wright 2006.
    """
    x0 = jax.tree.map(lambda x: x if isinstance(x, np.ndarray) else jnp.asarray(x), x0)  # jit takes NumPy's quicker
    settings = {"method": method, "options": options, "bounds": bounds, "gtol": gtol, "ftol": ftol}
    lengths = {"max_steps": max_steps, "has_aux": has_aux, "history": history}
    program, limits = prepare("minimise", fun, x0, args, **settings, **lengths)
    result = run_alone(program, x0, args, limits)
    if is_concrete(result.status) and result.status.ndim == 0:
        broken = int(result.status) == Status.NOT_FINITE and int(result.steps) == 0
        require(not broken, "minimise", "a finite value and gradient at x0", value=float(result.value))
    return result


@partial(jax.jit, static_argnums=0)
def run_alone(program: Program, x0: PyTree, args: tuple[Any, ...], limits: Limits) -> Result:
    """The whole of one run, compiled once for a `program` and the shapes of the rest."""
    start, step, result = parts(program, x0, args, limits)
    return result(jax.lax.while_loop(lambda run: run.status == Status.RUNNING, step, start(x0)))
