"""A minimum of a function, found by one compiled loop: any second-order method of the catalog, any pytree."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax231.core.checks import is_concrete, require
from jax231.core.one_function import at_top
from jax231.core.types import PyTree, Scalar
from jax231.optim.result import Result, Status
from jax231.optim.run import Limits, Program, prepare
from jax231.optim.run_alone import run_alone

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

    On a CPU most of a cheap function's time would go into the starting of XLA's kernels, a dozen a step. Where no array
    has more than `one_function.LARGEST` entries and the function consists of operations that XLA allows there (no
    sorting, scattering, callbacks or compiled kernels), the whole run is compiled as one function instead, unless the
    call is part of a traced program; the numbers of such a result are NumPy's. It rounds otherwise, so that a run on an
    ill-conditioned function may take another number of steps.

    Raises:  ValueError for parameters that are not real floating-point numbers, a start or its value that is not finite
             (where it can be seen), a function that returns no scalar, or returns more without `has_aux`, a method that
             needs a step size, a negative tolerance, bounds with another method than "lbfgs" or of another form than
             the parameters, or a lower one above its upper one (where it can be seen).
    Source:  Nocedal & Wright 2006.
    """
    if type(x0) is np.ndarray and options is None and bounds is None and type(gtol) is type(ftol) is float and at_top():
        known: Any = jax.config
        where = known.jax_enable_x64, known.jax_default_device
        program, limits = _usual(fun, method, gtol, ftol, max_steps, has_aux, history, x0.dtype, *where)
    else:
        x0 = jax.tree.map(lambda x: x if isinstance(x, np.ndarray) else jnp.asarray(x), x0)  # jit takes NumPy's quicker
        settings = {"method": method, "options": options, "bounds": bounds, "gtol": gtol, "ftol": ftol}
        lengths = {"max_steps": max_steps, "has_aux": has_aux, "history": history}
        program, limits = prepare("minimise", fun, x0, args, **settings, **lengths)
    result = run_alone(program, x0, args, limits)
    if is_concrete(result.status) and int(result.status) == Status.NOT_FINITE:
        begun = int(result.steps) > 0
        require(begun, "minimise", "a finite value and gradient at x0", value=float(result.value))
    return result


@functools.lru_cache(maxsize=128, typed=True)
def _usual(
    fun: Callable[..., Any],
    method: Any,
    gtol: float,
    ftol: float,
    max_steps: int,
    has_aux: bool,
    history: bool,
    dtype: Any,
    wide: bool,
    device: Any,
) -> tuple[Program, Limits]:
    """What `prepare` says of the most usual arguments, kept, as it takes longer than a small run.

    The limits lie on the `device` already, in 64 bits where these are switched on (`wide`).
    """
    del wide, device
    settings = {"method": method, "options": None, "bounds": None, "gtol": gtol, "ftol": ftol}
    lengths = {"max_steps": max_steps, "has_aux": has_aux, "history": history}
    program, limits = prepare("minimise", fun, jax.ShapeDtypeStruct((), dtype), (), **settings, **lengths)
    return program, Limits(jnp.asarray(limits.gtol), jnp.asarray(limits.ftol), jnp.asarray(max_steps), None)
