"""Who minimises: jax231, SciPy and the other JAX libraries, each with its own defaults and one tolerance."""

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from jax231.optim.minimise import minimise

SideName = Literal[
    "lbfgs", "scipy_bfgs", "scipy_lbfgsb", "scipy_lbfgsb_gradient", "optax", "jaxopt", "optimistix_bfgs",
    "optimistix_lbfgs",
]  # fmt: skip
Objective = Callable[[jax.Array], jax.Array]


class Limits(NamedTuple):
    """Where a run ends: at a gradient whose largest entry is at most `gtol`, or after so many steps."""

    gtol: float
    steps: int


class End(NamedTuple):
    """Where a run ended, and whether the minimiser calls it a minimum."""

    x: Any
    claimed: Any


Run = Callable[[np.ndarray], End]


class Side(NamedTuple):
    """A minimiser; `prepare` makes the call that is counted and timed, compiled at its first use."""

    title: str
    package: str
    prepare: Callable[[Objective, Limits], Run]

    @property
    def missing(self) -> bool:
        """Whether its package is not installed."""
        return find_spec(self.package) is None


def _jax231(method: str) -> Callable[[Objective, Limits], Run]:
    def prepare(fun: Objective, limits: Limits) -> Run:
        def run(start: np.ndarray) -> End:
            found = minimise(fun, start, method=method, gtol=limits.gtol, max_steps=limits.steps)
            return End(found.x, found.converged)

        return run

    return prepare


def _scipy(method: str, **options: Any) -> Callable[[Objective, Limits], Run]:
    def prepare(fun: Objective, limits: Limits) -> Run:
        value_and_grad = jax.jit(jax.value_and_grad(fun))

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, grad = value_and_grad(x)
            return float(value), np.asarray(grad)

        def run(start: np.ndarray) -> End:
            given = {"gtol": limits.gtol, "maxiter": limits.steps, **options}
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", RuntimeWarning)  # steps to where the objective overflows
                found = scipy.optimize.minimize(evaluate, start, jac=True, method=method, options=given)
            return End(found.x, found.success)

        return run

    return prepare


def _optax(fun: Objective, limits: Limits) -> Run:
    """The loop of Optax's documentation; it ends as well where a step changes nothing."""
    tx = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(fun)

    def largest(grad: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(grad))

    def step(carry: Any) -> Any:
        x, state, steps, _ = carry
        value, grad = value_and_grad(x, state=state)
        updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=fun)
        new = optax.apply_updates(x, updates)
        after = largest(optax.tree.get(state, "grad"))
        going = (steps + 1 < limits.steps) & (after > limits.gtol) & jnp.any(new != x)
        return new, state, steps + 1, going

    @jax.jit
    def run(start: jax.Array) -> End:
        carry = (start, tx.init(start), 0, True)
        x, state, _, _ = jax.lax.while_loop(lambda carry: carry[-1], step, carry)
        return End(x, largest(optax.tree.get(state, "grad")) <= limits.gtol)

    return run


def _jaxopt(fun: Objective, limits: Limits) -> Run:
    solver = import_module("jaxopt").LBFGS(fun, tol=limits.gtol, maxiter=limits.steps)

    @jax.jit
    def run(start: jax.Array) -> End:
        x, state = solver.run(start)
        return End(x, state.error <= limits.gtol)

    return run


def _optimistix(name: str, tolerance: float = 1e-8) -> Callable[[Objective, Limits], Run]:
    """Its test is on the last step's length and decrease, relative and absolute, not on the gradient."""

    def prepare(fun: Objective, limits: Limits) -> Run:
        optx = import_module("optimistix")
        solver = getattr(optx, name)(rtol=tolerance, atol=tolerance)

        @jax.jit
        def run(start: jax.Array) -> End:
            found = optx.minimise(lambda x, _: fun(x), solver, start, max_steps=limits.steps, throw=False)
            return End(found.value, found.result == optx.RESULTS.successful)

        return run

    return prepare


SIDES: dict[str, Side] = {
    "lbfgs": Side("jax231 L-BFGS", "jax231", _jax231("lbfgs")),
    "scipy_bfgs": Side("SciPy BFGS", "scipy", _scipy("BFGS")),
    "scipy_lbfgsb": Side("SciPy L-BFGS-B", "scipy", _scipy("L-BFGS-B", maxfun=1_000_000)),
    "scipy_lbfgsb_gradient": Side(
        "SciPy L-BFGS-B by the gradient alone", "scipy", _scipy("L-BFGS-B", maxfun=1_000_000, ftol=0.0)
    ),
    "optax": Side("Optax L-BFGS", "optax", _optax),
    "jaxopt": Side("JAXopt L-BFGS", "jaxopt", _jaxopt),
    "optimistix_bfgs": Side("Optimistix BFGS", "optimistix", _optimistix("BFGS")),
    "optimistix_lbfgs": Side("Optimistix L-BFGS", "optimistix", _optimistix("LBFGS")),
}
