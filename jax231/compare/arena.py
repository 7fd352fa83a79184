"""One problem made ready to run on: a starting point and an order of the examples for every seed."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from jax231.compare.problems import Problem
from jax231.compare.program import Program
from jax231.core import tree
from jax231.core.types import Batch, PyTree
from jax231.functional.metrics import accuracy

EXPLODED = 3.0
"""CS231n lecture 6: "if the cost is ever > 3 * original cost, break out early"; here above the known lower bound."""


def exploded(problem: Problem, loss: jax.Array, start: jax.Array) -> jax.Array:
    """Whether `loss` is not a number or, above the known lower bound, has grown to over three times the start's."""
    bound = problem.lower_bound
    return ~(loss - bound <= EXPLODED * (start - bound))


def shuffles(examples: int, batch: int, steps: int, seed: int) -> np.ndarray:
    """Indices (steps, batch): one shuffle of the examples after another; a batch may span two of them."""
    rng = np.random.default_rng([231, seed])
    passes = -(-steps * batch // examples)
    stream = np.concatenate([rng.permutation(examples) for _ in range(passes)])
    return stream[: steps * batch].reshape(steps, batch).astype(np.int32)


class Arena:
    """A problem with its starting points and batch orders by seed, the same for every optimizer.

    `batch` is the size of a mini-batch, 0 for the whole training split; `pool` compiles what the arena needs.
    """

    def __init__(self, problem: Problem, seeds: tuple[int, ...], batch: int, pool: ThreadPoolExecutor):
        self.problem = problem
        self.batch = min(batch or problem.examples, problem.examples)
        self._seeds = seeds
        self._init = Program(pool, problem.model.init, jax.random.key(0), quickly=True)
        self.shapes, _ = jax.eval_shape(problem.model.init, jax.random.key(0))
        self.parameters = tree.size(self.shapes)
        split = problem.split
        sizes = {len(other.targets): other for other in (split.test, split.validation)}
        self._evaluate = {
            size: Program(pool, self._measured, self.shapes, split.train, other) for size, other in sizes.items()
        }
        self.programs = [self._init, *self._evaluate.values()]
        self._orders: dict[int, jax.Array] = {}

    @cached_property
    def starts(self) -> dict[int, PyTree]:
        """The starting point of every seed."""
        return {seed: self._init(jax.random.key(seed))[0] for seed in self._seeds}

    @cached_property
    def losses(self) -> dict[int, jax.Array]:
        """The objective at the starting point of every seed."""
        test = self.problem.split.test
        return {seed: self._measure(start, test)[0] for seed, start in self.starts.items()}

    def order(self, seed: int, steps: int) -> jax.Array:
        """Which examples (steps, batch) the mini-batches of `seed` hold."""
        known = self._orders.get(seed)
        if known is None or len(known) < steps:
            known = self._orders[seed] = jnp.asarray(shuffles(self.problem.examples, self.batch, steps, seed))
        return known[:steps]

    def measure(self, params: PyTree, other: Batch) -> tuple[float, float]:
        """Objective over the training split and accuracy on `other`, the test or the validation split."""
        loss, share = self._measure(params, other)
        return float(loss), float(share)

    def _measure(self, params: PyTree, other: Batch) -> tuple[jax.Array, jax.Array]:
        return self._evaluate[len(other.targets)](params, self.problem.split.train, other)

    def _measured(self, params: PyTree, train: Batch, other: Batch) -> tuple[jax.Array, jax.Array]:
        outputs, _ = self.problem.model.apply(params, {}, other.inputs, train=False)
        return self.problem.objective(params, train), accuracy(outputs, other.targets)
