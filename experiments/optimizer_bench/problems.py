"""The standard test problems: every side counts its way to a minimum, and then the sides take turns on time."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import msgspec
from side_process import Process, SideError

from jax231.measure.timing import of_rounds
from optimizer_bench import tables
from optimizer_bench.more_garbow_hillstrom import PROBLEMS
from optimizer_bench.parts import Part, Setting, Target, introduced, ratio
from optimizer_bench.sides import ON_PROBLEMS, SideName
from optimizer_bench.solving import Record, Solution, geometric_mean, summaries

SOLVE_LIMIT = 300.0
"""Seconds to compile and count a run."""

SMALL = 12
"""At most so many parameters make a small problem."""

PEERS: Mapping[str, SideName] = {"small": "optimistix_bfgs", "large": "optax"}
"""The fastest peers in JAX."""

OWN: SideName = "lbfgs"


def run(name: str, setting: Setting, part: Part) -> None:
    """Measure the chosen problems (a quick run: only count, small forms only)."""
    sides = [side for side in ON_PROBLEMS if side in setting.sides]
    wanted = setting.problems or {problem.number for problem in PROBLEMS}
    chosen = [i for i, p in enumerate(PROBLEMS) if p.number in wanted and not (setting.quick and p.n > SMALL)]
    part.data |= {"gtol": setting.gtol, "steps": setting.steps, "records": []}
    begin = time.monotonic()
    with introduced(sides, setting, part) as processes:
        for place, number in enumerate(chosen, 1):
            record = _solved(number, processes, setting)
            if not setting.quick:
                _time(number, record, processes, setting)
            part.data["records"].append(asdict(record))
            minutes, seconds = divmod(int(time.monotonic() - begin), 60)
            figures = "  ".join(f"{side} {tables.cell(solution)}" for side, solution in record.sides.items())
            title = PROBLEMS[number].title
            setting.say(f"[{place:2}/{len(chosen)} {minutes:2}:{seconds:02}] {record.number:2} {title:34} {figures}")


def _solved(number: int, processes: Mapping[SideName, Process], setting: Setting) -> Record:
    problem = PROBLEMS[number]
    record = Record(problem.number, problem.name, problem.n, problem.m)
    for side, process in processes.items():
        try:
            record.sides[side] = process.ask("solve", number, setting.gtol, setting.steps, limit=SOLVE_LIMIT)
        except SideError as error:
            setting.say(f"{problem.title}: {side}: {error}")
            record.sides[side] = Solution(None, None, False, 0, 0)
    return record


def _time(number: int, record: Record, processes: Mapping[SideName, Process], setting: Setting) -> None:
    """Set the seconds of all sides: medians over rounds in which they take turns."""
    rounds: dict[SideName, list[float]] = {}
    for side, process in processes.items():
        with suppress(SideError):
            process.ask("prepare_problem", number, setting.gtol, setting.steps, limit=SOLVE_LIMIT)
            rounds[side] = []
    budget = setting.budget / 10  # there are many problems, and most take less than a millisecond
    for turn in range(setting.rounds):
        order = list(rounds)
        for side in order[turn % len(order) :] + order[: turn % len(order)]:
            with suppress(SideError):
                rounds[side].append(processes[side].ask("time", budget, limit=SOLVE_LIMIT)[0])
    for side, times in rounds.items():
        if times:
            record.sides[side].seconds, record.sides[side].spread = of_rounds(times)


def records(part: Part) -> list[Record]:
    """As they were measured."""
    return msgspec.convert(part.data["records"], list[Record])


def targets(name: str, part: Part) -> list[Target]:
    """What is solved and by how many evaluations, false claims, and the time in that of the fastest peer."""
    measured = records(part)
    own = next((summary for summary in summaries(measured) if summary.side == OWN), None)
    if own is None:
        return []
    rows = [
        Target(f"{len(measured)} Moré-Garbow-Hillstrom forms: unsolved; false claims; evaluations, geometric mean",
               [own.problems - own.solved, own.false_claims, own.evaluations], [0, 0, 59]),
    ]  # fmt: skip
    for size, peer in PEERS.items():
        ratios = [_of_peer(record, peer) for record in measured if (record.n <= SMALL) == (size == "small")]
        mean = geometric_mean([value for value in ratios if value])
        what = f"the {size} ones ({'at most' if size == 'small' else 'more than'} {SMALL} parameters): time"
        rows.append(Target(f"{what} / {peer}, geometric mean", [mean], [1.0]))
    return rows


def _of_peer(record: Record, peer: SideName) -> float | None:
    """Our seconds in the peer's, where both solve the problem."""
    ours, theirs = record.sides.get(OWN), record.sides.get(peer)
    if ours is None or theirs is None or not (ours.solved and theirs.solved):
        return None
    return ratio(ours.seconds, theirs.seconds)


def lines(name: str, part: Part) -> list[str]:
    """The summary, then every problem."""
    measured: list[Any] = records(part)
    return tables.document(part.data, measured)
