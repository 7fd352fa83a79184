"""Which problems does a minimiser solve, by how many evaluations, in what time, and are its claims true?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from optimizer_bench.counted import counted
from optimizer_bench.minimisers import MINIMISERS, Limits
from optimizer_bench.more_garbow_hillstrom import Problem

TOLERANCE = 1e-6
"""A problem is solved at a value within ``TOLERANCE * (1 + |f|)`` of a known minimum f."""


@dataclass
class Solution:
    """Where one side ended on one problem, from the standard start.

    `minimum` is the known minimum that was reached, if any; `claimed` whether the side calls its end a minimum.
    `evaluations` are all until it stopped, `gradients` those of them with a gradient, `needed` those until the first
    value as low as the minimum that was reached; `seconds` a warm call's, median, and `spread` over it.
    """

    value: float | None
    minimum: float | None
    claimed: bool
    evaluations: int
    gradients: int
    needed: int | None = None
    seconds: float | None = None
    spread: float | None = None

    @property
    def solved(self) -> bool:
        """Whether it ended at a known minimum."""
        return self.minimum is not None

    @property
    def falsely_claimed(self) -> bool:
        """Whether it calls a minimum what is none."""
        return self.claimed and not self.solved


@dataclass
class Record:
    """A problem and every side's solution."""

    number: int
    name: str
    n: int
    m: int
    sides: dict[str, Solution] = field(default_factory=dict)


def solve(problem: Problem, side: str, limits: Limits) -> Solution:
    """Let one side minimise `problem`, counting."""
    fun, log = counted(problem.objective)
    end = jax.block_until_ready(MINIMISERS[side].prepare(fun, limits, ())(problem.start))
    jax.effects_barrier()
    value = float(jax.jit(problem.objective)(np.asarray(end.x)))
    minimum = problem.reached(value, TOLERANCE)
    return Solution(
        value=value if math.isfinite(value) else None,  # JSON has no other numbers
        minimum=minimum,
        claimed=bool(end.claimed),
        evaluations=len(log.values),
        gradients=log.gradients,
        needed=None if minimum is None else log.until(minimum + TOLERANCE * (1 + abs(minimum))),
    )


@dataclass
class Summary:
    """One side over all problems; the means are geometric, over the problems that every side solved."""

    side: str
    problems: int
    solved: int
    false_claims: int
    unclaimed: int
    common: int
    evaluations: float | None
    gradients: float | None
    needed: float | None
    milliseconds: float | None


def summaries(records: Sequence[Record]) -> list[Summary]:
    """One for each side, in their order."""
    sides = list(records[0].sides) if records else []
    common = [record for record in records if all(record.sides[side].solved for side in sides)]
    return [_summary(side, records, common) for side in sides]


def _summary(side: str, records: Sequence[Record], common: Sequence[Record]) -> Summary:
    every = [record.sides[side] for record in records]
    shared = [record.sides[side] for record in common]
    seconds = [solution.seconds for solution in shared]
    return Summary(
        side=side,
        problems=len(every),
        solved=sum(solution.solved for solution in every),
        false_claims=sum(solution.falsely_claimed for solution in every),
        unclaimed=sum(solution.solved and not solution.claimed for solution in every),
        common=len(shared),
        evaluations=geometric_mean([solution.evaluations for solution in shared]),
        gradients=geometric_mean([solution.gradients for solution in shared]),
        needed=geometric_mean([solution.needed for solution in shared]),
        milliseconds=geometric_mean([None if value is None else 1e3 * value for value in seconds]),
    )


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Of values that are all there."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return math.exp(sum(map(math.log, known)) / len(known))
