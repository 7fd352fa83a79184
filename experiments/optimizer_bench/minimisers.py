"""Who minimises: jax231, SciPy and the other JAX libraries, each with its own defaults and one tolerance."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from jax231.optim.minimise import minimise

Objective = Callable[..., jax.Array]
"""``fun(x, *data)``."""


class Limits(NamedTuple):
    """Where a run ends: at a gradient whose largest entry is at most `gtol`, or after so many steps."""

    gtol: float
    steps: int


class End(NamedTuple):
    """Where a run ended, and whether the minimiser calls it a minimum."""

    x: Any
    claimed: Any


Run = Callable[[np.ndarray], End]
Prepare = Callable[[Objective, Limits, tuple[Any, ...]], Run]


class Minimiser(NamedTuple):
    """A minimiser; `prepare` makes the call that is counted and timed, compiled at its first use."""

    package: str
    prepare: Prepare


def _jax231(method: str) -> Prepare:
    def prepare(fun: Objective, limits: Limits, data: tuple[Any, ...]) -> Run:
        def run(start: np.ndarray) -> End:
            found = minimise(fun, start, data, method=method, gtol=limits.gtol, max_steps=limits.steps)
            return End(found.x, found.converged)

        return run

    return prepare


def _scipy(method: str, **options: Any) -> Prepare:
    def prepare(fun: Objective, limits: Limits, data: tuple[Any, ...]) -> Run:
        value_and_grad = jax.jit(jax.value_and_grad(fun))

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, grad = value_and_grad(x, *data)
            return float(value), np.asarray(grad)

        def run(start: np.ndarray) -> End:
            given = {"gtol": limits.gtol, "maxiter": limits.steps, **options}
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", RuntimeWarning)  # steps to where the objective overflows
                found = scipy.optimize.minimize(evaluate, start, jac=True, method=method, options=given)
            return End(found.x, found.success)

        return run

    return prepare


def _optax(fun: Objective, limits: Limits, data: tuple[Any, ...]) -> Run:
    """The loop of Optax's documentation; it ends as well where a step changes nothing."""
    tx = optax.lbfgs()

    def largest(grad: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(grad))

    @jax.jit
    def run(start: jax.Array, data: tuple[Any, ...]) -> End:
        def value_fn(x: jax.Array) -> jax.Array:
            return fun(x, *data)

        value_and_grad = optax.value_and_grad_from_state(value_fn)

        def step(carry: Any) -> Any:
            x, state, steps, _ = carry
            value, grad = value_and_grad(x, state=state)
            updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=value_fn)
            new = optax.apply_updates(x, updates)
            after = largest(optax.tree.get(state, "grad"))
            going = (steps + 1 < limits.steps) & (after > limits.gtol) & jnp.any(new != x)
            return new, state, steps + 1, going

        carry = (start, tx.init(start), 0, True)
        x, state, _, _ = jax.lax.while_loop(lambda carry: carry[-1], step, carry)
        return End(x, largest(optax.tree.get(state, "grad")) <= limits.gtol)

    return lambda start: run(start, data)


def _jaxopt(by_gradient: bool) -> Prepare:
    """Its test is on the gradient's norm in the Euclidean sense, unless it has to be `by_gradient`'s largest entry."""

    def prepare(fun: Objective, limits: Limits, data: tuple[Any, ...]) -> Run:
        jaxopt = import_module("jaxopt")

        class ByGradient(jaxopt.LBFGS):
            def _cond_fun(self, inputs: Any) -> jax.Array:
                return jnp.max(jnp.abs(inputs[0][1].grad)) > self.tol

        kind = ByGradient if by_gradient else jaxopt.LBFGS
        solver = kind(fun, tol=limits.gtol, maxiter=limits.steps)

        @jax.jit
        def run(start: jax.Array, data: tuple[Any, ...]) -> End:
            x, state = solver.run(start, *data)
            return End(x, state.error <= limits.gtol)

        return lambda start: run(start, data)

    return prepare


def _optimistix(name: str, by_gradient: bool, tolerance: float = 1e-8) -> Prepare:
    """Its test is on the last step's length and decrease, relative and absolute, unless it has to be `by_gradient`."""

    def prepare(fun: Objective, limits: Limits, data: tuple[Any, ...]) -> Run:
        optx = import_module("optimistix")
        kind = getattr(optx, name)

        class ByGradient(kind):
            def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> Any:
                small = jnp.max(jnp.abs(state.f_info.grad)) <= limits.gtol
                return small & ~state.first_step, state.result

        solver = (ByGradient if by_gradient else kind)(rtol=tolerance, atol=tolerance)

        @jax.jit
        def run(start: jax.Array, data: tuple[Any, ...]) -> End:
            found = optx.minimise(
                lambda x, data: fun(x, *data), solver, start, data, max_steps=limits.steps, throw=False
            )
            return End(found.value, found.result == optx.RESULTS.successful)

        return lambda start: run(start, data)

    return prepare


MINIMISERS: dict[str, Minimiser] = {
    "lbfgs": Minimiser("jax231", _jax231("lbfgs")),
    "scipy_bfgs": Minimiser("scipy", _scipy("BFGS")),
    "scipy_lbfgsb": Minimiser("scipy", _scipy("L-BFGS-B", maxfun=1_000_000)),
    "scipy_lbfgsb_gradient": Minimiser("scipy", _scipy("L-BFGS-B", maxfun=1_000_000, ftol=0.0)),
    "optax": Minimiser("optax", _optax),
    "jaxopt": Minimiser("jaxopt", _jaxopt(False)),
    "jaxopt_gradient": Minimiser("jaxopt", _jaxopt(True)),
    "optimistix_bfgs": Minimiser("optimistix", _optimistix("BFGS", False)),
    "optimistix_bfgs_gradient": Minimiser("optimistix", _optimistix("BFGS", True)),
    "optimistix_lbfgs": Minimiser("optimistix", _optimistix("LBFGS", False)),
    "optimistix_lbfgs_gradient": Minimiser("optimistix", _optimistix("LBFGS", True)),
}
