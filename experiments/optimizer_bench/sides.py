"""Who minimises: the titles, who needs the peers' interpreter, and who takes part in what."""

from typing import Literal, NamedTuple, get_args

import side_process

SideName = Literal[
    "lbfgs", "scipy_bfgs", "scipy_lbfgsb", "scipy_lbfgsb_gradient", "optax", "jaxopt", "jaxopt_gradient",
    "optimistix_bfgs", "optimistix_bfgs_gradient", "optimistix_lbfgs", "optimistix_lbfgs_gradient", "torch",
]  # fmt: skip


class Side(NamedTuple):
    """A title for tables, the package whose version is noted, and whether the peers' interpreter runs it."""

    title: str
    package: str
    peer: bool = False


SIDES: dict[str, Side] = {
    "lbfgs": Side("jax231 L-BFGS", "jax231"),
    "scipy_bfgs": Side("SciPy BFGS", "scipy"),
    "scipy_lbfgsb": Side("SciPy L-BFGS-B", "scipy"),
    "scipy_lbfgsb_gradient": Side("SciPy L-BFGS-B by the gradient alone", "scipy"),
    "optax": Side("Optax L-BFGS", "optax"),
    "jaxopt": Side("JAXopt L-BFGS", "jaxopt", peer=True),
    "jaxopt_gradient": Side("JAXopt L-BFGS by the gradient's largest entry", "jaxopt", peer=True),
    "optimistix_bfgs": Side("Optimistix BFGS", "optimistix", peer=True),
    "optimistix_bfgs_gradient": Side("Optimistix BFGS by the gradient alone", "optimistix", peer=True),
    "optimistix_lbfgs": Side("Optimistix L-BFGS", "optimistix", peer=True),
    "optimistix_lbfgs_gradient": Side("Optimistix L-BFGS by the gradient alone", "optimistix", peer=True),
    "torch": Side("PyTorch L-BFGS, strong Wolfe", "torch", peer=True),
}

ON_PROBLEMS: tuple[SideName, ...] = (
    "lbfgs", "scipy_bfgs", "scipy_lbfgsb", "scipy_lbfgsb_gradient", "optax", "jaxopt", "optimistix_bfgs",
    "optimistix_lbfgs",
)  # fmt: skip
"""The test problems: each with its own test of convergence, for its claims are looked at."""

ON_TIME: tuple[SideName, ...] = (
    "lbfgs", "optax", "jaxopt_gradient", "optimistix_lbfgs_gradient", "optimistix_bfgs_gradient",
    "scipy_lbfgsb_gradient", "torch",
)  # fmt: skip
"""The timed cases: all of them run until the largest entry of the gradient is small enough."""

DENSE: tuple[SideName, ...] = ("optimistix_bfgs_gradient",)
"""Sides that keep a matrix: measured up to `DENSE_LIMIT` parameters."""

DENSE_LIMIT = 1000

NAMES: tuple[SideName, ...] = get_args(SideName)


def environment() -> dict[str, str]:
    """The variables of a side's process: float64, with products as exact as that."""
    return side_process.environment(JAX_ENABLE_X64="1", JAX_DEFAULT_MATMUL_PRECISION="highest")
