"""Statistics of finished runs: targets, when they were reached, spread over seeds, curves with bands.

Conventions, the same in the terminal, the report and the pictures:

- The *best* loss of a problem is the lowest that any final run or any lane of the sweep has seen; its *start* is the
  median over seeds of the loss before the first step. The *relative gap* of a loss is
  ``(loss - best) / (start - best)``: 1 at the start, 0 at the best known point.
- A *target* is a relative gap of tau, so ``loss <= best + tau (start - best)``: one number for all optimizers of a
  problem (Moré and Wild 2009, SIAM J. Optim. 20, eq. 2.2). It is reached at the first recorded point at or below it;
  what follows, a divergence too, does not undo it.
- Failure counts as the worst value and is never left out: a target that a seed did not reach costs it infinity, the
  final loss of a diverged run is infinity, its accuracy minus infinity. A median is finite only if more than half of
  the seeds succeeded. Spread is ``[min, max]`` over seeds, since three seeds allow no more.
- A curve is the median over seeds at every x. A run is a step function of x: the last recorded loss holds until the
  next. A run that has converged or stalled keeps its last loss, a diverged one counts as infinity after its last
  record. Two runs that ended on their budget end at slightly different x; the shorter is carried forward.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jax231.core.checks import require

TAUS = (1e-1, 1e-2, 1e-3)
RANKED = 1e-2  # the target by which optimizers are ranked
MEASURES = ("steps", "cost", "seconds")  # what a run can be plotted against and what a target can take

Number = float | int


@dataclass(frozen=True)
class Lane:
    """One lane of a sweep: a setting tried with a tuning seed. Made from a record by ``msgspec.convert``."""

    problem: str
    optimizer: str
    setting: Number
    seed: int
    final: Number | None
    diverged: bool
    start: Number | None = None
    best: Number | None = None
    steps: Number = 0
    cost: Number = 0.0
    accuracy: Number | None = None


@dataclass(frozen=True)
class Run:
    """One final run of a winning setting with a fresh seed; lists have one entry a record, None where not finite."""

    problem: str
    optimizer: str
    setting: Number
    seed: int
    steps: list[Number]
    cost: list[Number]
    seconds: list[Number]
    loss: list[Number | None]
    test_accuracy: list[Number | None]
    diverged: bool
    status: str
    edge: str | None = None
    counts: dict[str, Number] = field(default_factory=dict)
    compile_seconds: Number = 0.0

    def __post_init__(self):
        lengths = {name: len(getattr(self, name)) for name in (*MEASURES, "loss", "test_accuracy")}
        whole = len(set(lengths.values())) == 1 and lengths["loss"] > 0
        require(whole, f"run of {self.optimizer} on {self.problem}", "lists of one length, at least 1", **lengths)


class Spread(NamedTuple):
    """Median and range over seeds; infinite where seeds failed."""

    median: float
    low: float
    high: float


class Reach(NamedTuple):
    """What it took to reach a target: spreads over seeds, and how many of them reached it."""

    steps: Spread
    cost: Spread
    seconds: Spread
    reached: int
    seeds: int


class Scale(NamedTuple):
    """The best and the starting loss of a problem, which turn a loss into a relative gap."""

    best: float
    start: float

    def target(self, tau: float) -> float:
        """The loss whose relative gap is `tau`."""
        return self.best + tau * (self.start - self.best)

    def gap(self, losses: Iterable[Number | None] | np.ndarray) -> np.ndarray:
        """Relative gaps of `losses`; NaN throughout where nothing has improved on the start."""
        values = as_losses(losses)
        span = self.start - self.best
        return (values - self.best) / span if span > 0 else np.full_like(values, np.nan)


class Row(NamedTuple):
    """How one optimizer did on one problem. `ratio` holds, by "cost" and "seconds", the median to the 1e-2 target over
    the least one of the problem: infinite where the target was not reached, None where nobody reached it.
    """

    problem: str
    optimizer: str
    setting: float
    edge: str | None
    seeds: int
    final_loss: Spread
    final_gap: Spread
    reach: dict[float, Reach]
    accuracy: Spread | None
    diverged: int
    lanes: int
    lanes_diverged: int
    statuses: dict[str, int]
    counts: dict[str, float]
    compile_seconds: float
    ratio: dict[str, float | None]


class Curve(NamedTuple):
    """Median and range of the loss over seeds on a common grid; infinite where runs have diverged."""

    x: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


def as_losses(losses: Iterable[Number | None] | np.ndarray) -> np.ndarray:
    """Losses as float64, with infinity where a loss is None or not a number."""
    values = np.array(losses if isinstance(losses, np.ndarray) else list(losses), dtype=np.float64)
    return np.where(np.isnan(values), np.inf, values)


def spread(values: Iterable[float]) -> Spread:
    """Median, least and largest of the values of all seeds, infinities included."""
    ordered = np.sort(np.array(list(values), dtype=np.float64))
    require(len(ordered) > 0, "spread", "at least one value", values=ordered)
    # Not np.median: an even number of seeds, half of them failed, has the median infinity, not NaN.
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    median = low if low == high else (low + high) / 2
    return Spread(float(median), float(ordered[0]), float(ordered[-1]))


def problem_scale(runs: Sequence[Run], lanes: Sequence[Lane] = ()) -> Scale | None:
    """Best and starting loss of one problem's runs and lanes; None where no loss is finite.

    The start is taken from the final runs, one value a seed, or from the sweep where no final run is there yet.
    """
    losses = np.concatenate([as_losses(run.loss) for run in runs] or [np.empty(0)])
    found = np.concatenate([losses, as_losses(lane.best for lane in lanes), as_losses(lane.final for lane in lanes)])
    starts = {run.seed: run.loss[0] for run in runs} or {lane.seed: lane.start for lane in lanes}
    begun = [float(start) for start in starts.values() if start is not None and math.isfinite(start)]
    found = found[np.isfinite(found)]
    if not len(found) or not begun:
        return None
    return Scale(float(found.min()), float(np.median(begun)))


def first_reach(xs: Sequence[Number], losses: Sequence[Number | None], target: float) -> float | None:
    """The x of the first recorded loss at or below `target`; None if there is none."""
    below = np.flatnonzero(as_losses(losses) <= target)
    return float(xs[below[0]]) if len(below) else None


def final_loss(run: Run) -> float:
    """The last loss of a run; infinite if it diverged."""
    return math.inf if run.diverged else float(as_losses(run.loss)[-1])


def final_accuracy(run: Run) -> float:
    """The last test accuracy of a run; minus infinity if it diverged or has none."""
    last = run.test_accuracy[-1]
    return -math.inf if run.diverged or last is None else float(last)


def reach(runs: Sequence[Run], target: float) -> Reach:
    """Steps, cost and seconds that the runs of one optimizer took to `target`."""
    taken = {m: [first_reach(getattr(run, m), run.loss, target) for run in runs] for m in MEASURES}
    spreads = (spread(math.inf if x is None else x for x in taken[m]) for m in MEASURES)
    return Reach(*spreads, reached=sum(x is not None for x in taken["cost"]), seeds=len(runs))


def summarize(runs: Iterable[Run], lanes: Iterable[Lane] = ()) -> dict[str, list[Row]]:
    """The rows of every problem, best first: by median cost to the 1e-2 target, then by median final loss.

    Problems come in the order of their first run; an optimizer without final runs has no row.
    """
    runs, lanes = list(runs), list(lanes)
    return {
        problem: summarize_problem(
            [run for run in runs if run.problem == problem], [lane for lane in lanes if lane.problem == problem]
        )
        for problem in dict.fromkeys(run.problem for run in runs)
    }


def summarize_problem(runs: Sequence[Run], lanes: Sequence[Lane] = ()) -> list[Row]:
    """The rows of one problem, best first."""
    scale = problem_scale(runs, lanes)
    if scale is None:  # not one finite loss: rows of failures, so that they are seen
        scale = Scale(math.nan, math.nan)
    rows = [
        _row([run for run in runs if run.optimizer == name], [lane for lane in lanes if lane.optimizer == name], scale)
        for name in dict.fromkeys(run.optimizer for run in runs)
    ]
    least = {m: min((getattr(row.reach[RANKED], m).median for row in rows), default=math.inf) for m in _RATED}
    rows = [row._replace(ratio={m: _ratio(row, m, least[m]) for m in _RATED}) for row in rows]
    return sorted(rows, key=lambda row: (row.reach[RANKED].cost.median, row.final_loss.median))


_RATED = ("cost", "seconds")


def _ratio(row: Row, measure: str, least: float) -> float | None:
    taken = getattr(row.reach[RANKED], measure).median
    if math.isinf(least):
        return None
    return 1.0 if taken == least else (taken / least if least > 0 else math.inf)


def _row(runs: Sequence[Run], lanes: Sequence[Lane], scale: Scale) -> Row:
    problem, optimizer = runs[0].problem, runs[0].optimizer
    settings = sorted({float(run.setting) for run in runs})
    require(len(settings) == 1, f"{optimizer} on {problem}", "final runs of one setting", settings=settings)
    finals = np.array([final_loss(run) for run in runs])
    accuracies = [final_accuracy(run) for run in runs]
    measured = any(value is not None for run in runs for value in run.test_accuracy)
    statuses = [run.status for run in runs]
    return Row(
        problem=problem,
        optimizer=optimizer,
        setting=settings[0],
        edge=next((run.edge for run in runs if run.edge), None),
        seeds=len(runs),
        final_loss=spread(finals),
        final_gap=spread(as_losses(scale.gap(finals))),
        reach={tau: reach(runs, scale.target(tau) if scale.start > scale.best else -math.inf) for tau in TAUS},
        accuracy=spread(accuracies) if measured else None,
        diverged=sum(run.diverged for run in runs),
        lanes=len(lanes),
        lanes_diverged=sum(lane.diverged for lane in lanes),
        statuses={status: statuses.count(status) for status in dict.fromkeys(statuses)},
        counts=_median_counts([run.counts for run in runs]),
        compile_seconds=float(np.median([run.compile_seconds for run in runs])),
        ratio={},
    )


def _median_counts(counts: Sequence[Mapping[str, Number]]) -> dict[str, float]:
    names = dict.fromkeys(name for count in counts for name in count)
    return {name: float(np.median([count.get(name, 0) for count in counts])) for name in names}


def curve(runs: Sequence[Run], measure: str, points: int = 240) -> Curve:
    """Median and range over seeds of the loss against `measure` ("steps", "cost" or "seconds").

    The grid is every x at which any of the runs was recorded, thinned to about `points` of them, evenly in log x
    (first and last kept), so that the curve equals the step functions wherever it is drawn.
    """
    require(measure in MEASURES, "curve", f"measure to be one of {MEASURES}", measure=measure)
    require(len(runs) > 0, "curve", "at least one run", runs=list(runs))
    grid = _thin(np.unique(np.concatenate([np.asarray(getattr(run, measure), np.float64) for run in runs])), points)
    held = np.sort(np.stack([_held(run, measure, grid) for run in runs]), axis=0)
    low, high = held[(len(runs) - 1) // 2], held[len(runs) // 2]
    return Curve(grid, (low + high) / 2, held[0], held[-1])


def _held(run: Run, measure: str, grid: np.ndarray) -> np.ndarray:
    xs = np.asarray(getattr(run, measure), np.float64)
    last = np.searchsorted(xs, grid, side="right") - 1
    losses = as_losses(run.loss)[np.maximum(last, 0)]
    gone = (grid > xs[-1]) if run.diverged else np.zeros(len(grid), bool)
    return np.where(gone | (last < 0), np.inf, losses)


def _thin(grid: np.ndarray, points: int) -> np.ndarray:
    if len(grid) <= points:
        return grid
    positive = grid[grid > 0]
    wanted = np.geomspace(positive[0], positive[-1], points)
    kept = np.minimum(np.searchsorted(positive, wanted), len(positive) - 1)
    return np.unique(np.concatenate([grid[:1], positive[kept], grid[-1:]]))
