"""What a comparison is: the choices that its run folder stores and a second call must repeat.

Imports no JAX, so that the command line answers at once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import cyclopts

from jax231.core.checks import require
from jax231.optim import catalog

ProblemName = Literal["softmax", "svm", "two_layer", "two_layer_tanh", "convnet"]
OptimizerName = Literal[
    "sgd", "momentum", "nesterov", "nesterov_lookahead", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion", "muon",
    "shampoo", "soap", "schedule_free", "newton", "saddle_free_newton", "newton_cg", "newton_cg_trust", "gauss_newton",
    "natural_gradient", "empirical_natural_gradient", "bfgs", "sr1", "lbfgs",
]  # fmt: skip
"""The entries of `optim.catalog` that need no more than `HANDED`."""

HANDED = ("value_fn", "outputs_fn", "outputs_loss", "per_example_fn")
"""What every problem hands over, of the `needs` of an entry."""
DataName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]


def require_comparable(names: Iterable[str]) -> None:
    """Each of `names`, as far as the catalog knows them, is an optimizer that can be run on a problem.

    Raises: ValueError with what the first that cannot be run needs besides, and with those that can.
    """
    for entry in catalog.ENTRIES:
        lacks = [need for need in entry.needs if need not in HANDED]
        if lacks and entry.name in names:
            needs = ", ".join(f"{need} ({catalog.NEEDS[need]})" for need in lacks)
            raise ValueError(
                f"compare: expected optimizers that every problem hands what they need "
                f"({', '.join(get_args(OptimizerName))}); got {entry.name}, which needs {needs}"
            )


def _convert(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    require_comparable([token.value for token in tokens])
    return cyclopts.convert(kind, tokens)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A comparison of optimizers on problems over one data set."""

    problems: tuple[ProblemName, ...] = ("softmax", "svm", "two_layer", "convnet")
    """Models to train."""

    optimizers: Annotated[tuple[OptimizerName, ...], cyclopts.Parameter(converter=_convert)] = (
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "newton", "newton_cg", "lbfgs",
    )  # fmt: skip
    """Methods to compare; `jax231 optimizers` describes them."""

    data: DataName = "digits"
    """Images to train on; all but the embedded digits are read from the data folder."""

    examples: int | None = None
    """Use only so many training examples (None: all)."""

    budget: float | None = None
    """Gradients over the whole training split, or what costs as much, that a run may spend (None: the problem's)."""

    settings: int = 7
    """Step sizes (damping for second order) tried for each optimizer, log-spaced over its range."""

    seeds: int = 3
    """Seeds for tuning, and as many fresh ones for the reported runs."""

    batch_size: int = 128
    """Examples in a mini-batch of the first-order methods; 0 takes the whole training split."""

    def __post_init__(self):
        require_comparable(self.optimizers)
        for name, known in (("problems", get_args(ProblemName)), ("optimizers", get_args(OptimizerName))):
            chosen = getattr(self, name)
            require(len(chosen) > 0, "compare", f"at least one of {name}", **{name: chosen})
            require(len(set(chosen)) == len(chosen), "compare", f"each of {name} once", **{name: chosen})
            require(set(chosen) <= set(known), "compare", f"{name} among {', '.join(known)}", **{name: chosen})
        require(
            self.data in get_args(DataName), "compare", f"data among {', '.join(get_args(DataName))}", data=self.data
        )
        budget = self.budget
        require(budget is None or 0 < budget < math.inf, "compare", "a finite budget above zero", budget=budget)
        require(self.settings >= 1, "compare", "at least one setting", settings=self.settings)
        require(self.seeds >= 1, "compare", "at least one seed", seeds=self.seeds)
        require(self.batch_size >= 0, "compare", "a batch size of 0 (all) or more", batch_size=self.batch_size)
        require(self.examples is None or self.examples >= 20, "compare", "20 examples or more", examples=self.examples)

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """The seeds whose runs choose a setting."""
        return tuple(range(self.seeds))

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds whose runs are reported."""
        return tuple(range(self.seeds, 2 * self.seeds))
