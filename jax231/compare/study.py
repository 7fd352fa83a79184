"""The comparison itself: search each optimizer's setting, then run the winners alone with fresh seeds.

Everything that is finished is on disk before the next thing starts, so an interrupted study goes on where it stopped
and gets the same bits: what runs together is a function of the configuration, never of what is left to do.
"""

import datetime
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jax231.compare import costs, problems, store
from jax231.compare.arena import Arena
from jax231.compare.config import Config
from jax231.compare.first_order import FirstOrder
from jax231.compare.plan import PARALLEL, Plan, Work, row
from jax231.compare.program import Program
from jax231.compare.second_order import SecondOrder
from jax231.compare.task import Task, Winner
from jax231.compare.watch import Silent, Watcher
from jax231.core import precision
from jax231.data import preprocess
from jax231.measure import machine
from jax231.measure.summary import Lane
from jax231.optim import catalog
from jax231.optim.noise_note import ADVICE
from jax231.search.grid import log_grid

Driver = FirstOrder | SecondOrder


def run(
    config: Config,
    folder: Path,
    *,
    data_dir: Path | None = None,
    watcher: Watcher | None = None,
    command: str = "jax231.compare.study.run",
) -> None:
    """Do what is left to do of the comparison `config` in `folder`, which is made if it is not there.

    `command` is recorded as what started the study.

    Raises: store.FolderError where the folder belongs to something else; MissingDataError for data that are not there.
    """
    watch = watcher or Silent()
    split = problems.load(config.data, data_dir=data_dir, examples=config.examples)
    store.open_folder(folder, config)
    with store.locked(folder), precision.highest():
        study = _Study(config, store.Store(folder), split, watch, command)
        preprocess.save(split.stats, folder / "preprocess.npz")
        study.measure()
        study.finish()


def choose(task: Task, lanes: Iterable[Lane]) -> Winner:
    """The setting with the lowest median final loss over the tuning seeds; of equal ones the smaller.

    A diverged lane counts as infinite. Where no setting has a finite median the smallest is run, and diverges.
    """
    finals: dict[float, list[float]] = {setting: [] for setting in task.grid}
    for lane in lanes:
        finals.setdefault(lane.setting, []).append(math.inf if lane.diverged or lane.final is None else lane.final)
    medians = [float(np.median(finals[setting])) if finals[setting] else math.inf for setting in task.grid]
    best = int(np.argmin(medians))
    alone = len(task.grid) == 1 or not math.isfinite(medians[best])
    edge = None if alone else {0: "low", len(task.grid) - 1: "high"}.get(best)
    return Winner(task.grid[best], edge)


class _Study:
    def __init__(self, config: Config, records: store.Store, split: problems.Split, watch: Watcher, command: str):
        self.command = command
        self.config, self.store, self.split, self.watch = config, records, split, watch
        self.facts = records.study()
        if self.facts is not None and self.facts["digests"] != split.digests:
            raise store.FolderError(
                f"{records.folder}: expected the data files that the study began with (digests: study.json); got others"
            )
        self.arenas: dict[str, Arena] = {}
        self.rates: dict[str, costs.Rates] = {}
        self.tasks: dict[str, list[Task]] = {}

    def measure(self) -> None:
        """Make the problems ready and take their exchange rates, from the folder where they are known."""
        config = self.config
        meters: dict[str, costs.Meter] = {}
        if self.facts is None:
            self.watch.note(
                f"{len(config.problems)} problems, {len(config.optimizers)} optimizers: {config.settings} settings x "
                f"{config.seeds} seeds each, then the winners on {config.seeds} fresh seeds.\n"
                "What gradients cost here is measured first; the plan with its times follows from that."
            )
            whole = [name for name in config.optimizers if catalog.entry(name).batch == "full batch"]
            if whole and config.batch_size:
                self.watch.note(f"Batches are not for {', '.join(whole)}, which get the whole split: {ADVICE}.")
        with ThreadPoolExecutor(PARALLEL) as pool:
            for name in config.problems:
                problem = problems.build(name, self.split)
                seeds = config.tuning_seeds + config.fresh_seeds
                arena = self.arenas[name] = Arena(problem, seeds, config.batch_size, pool)
                budget = config.budget or problem.budget
                entries = [catalog.entry(optimizer) for optimizer in config.optimizers]
                fits = [entry for entry in entries if entry.limit is None or arena.parameters <= entry.limit]
                self.tasks[name] = [
                    Task(name, entry, log_grid(*entry.space, config.settings), budget) for entry in fits
                ]
                for each in (entry for entry in entries if entry not in fits):
                    self.watch.note(
                        f"{each.name} is left out on {name}: {arena.parameters:,} parameters, at most {each.limit:,}"
                    )
                if self.facts is None:
                    meters[name] = costs.Meter(arena, {need for entry in fits for need in entry.evaluations}, pool)
            if not any(self.tasks.values()):
                chosen = f"{', '.join(config.optimizers)} on {', '.join(config.problems)}"
                raise ValueError(
                    f"compare: expected an optimizer that fits a problem; got {chosen}: too many parameters"
                )
            self._wait("make ready", [p for ready in (*self.arenas.values(), *meters.values()) for p in ready.programs])
        if self.facts is None:
            self.watch.stage("measure what gradients cost", len(meters))
            for name, meter in meters.items():
                self.rates[name] = meter.measure()
                self.watch.advance()
            self.facts = self._facts()
            self.store.write_study(self.facts)
        else:
            for name in config.problems:
                stored = self.facts["problems"][name]["rates"]
                self.rates[name] = costs.Rates(
                    **{field: stored[field] for field in costs.Rates._fields if field in stored}
                )

    def _wait(self, title: str, programs: list[Program]) -> None:
        self.watch.stage(title, len(programs))
        for program in programs:
            program.wait()
            self.watch.advance()

    def finish(self) -> None:
        """Plan, compile, search, and run the winners."""
        works = [work for name in self.config.problems for work in self._left(name)]
        drivers = [(work, self._driver(work)) for work in works]
        rows = (
            row(work, self.config.seeds, self.rates[work.tasks[0].problem], driver.programs(work))
            for work, driver in drivers
        )
        self.watch.plan(Plan(tuple(rows)))
        if works:
            pool = ThreadPoolExecutor(PARALLEL)
            try:
                searching, alone = self._compile(drivers, pool)
                self._wait("compile the search", searching)
                for work, driver in drivers:
                    if work.search:
                        self._search(work, driver)
                self._wait("compile the runs alone", alone)
                self._run_winners(drivers)
            finally:
                pool.shutdown(cancel_futures=True)

    def _left(self, problem: str) -> list[Work]:
        """What is left to do for each program that searches: the family's rules as one, every other by itself."""
        lanes, runs = self.store.lanes(), self.store.runs()
        tasks = self.tasks[problem]
        family = [task for task in tasks if task.entry.family]
        groups = [family, *([task] for task in tasks if not task.entry.family)]
        works = []
        for group in filter(None, groups):
            keys = [
                (problem, task.name, setting, seed)
                for task in group
                for setting in task.grid
                for seed in self.config.tuning_seeds
            ]
            search = any(key not in lanes for key in keys)
            alone = {
                task.name: [seed for seed in self.config.fresh_seeds if (problem, task.name, seed) not in runs]
                for task in group
            }
            if search or any(alone.values()):
                works.append(Work(group, search, alone))
        return works

    def _driver(self, work: Work) -> Driver:
        task = work.tasks[0]
        arena = self.arenas[task.problem]
        if task.entry.order == 1:
            return FirstOrder(arena, work.tasks, self.config.tuning_seeds)
        return SecondOrder(arena, task, self.rates[task.problem], self.config.tuning_seeds)

    def _compile(
        self, drivers: list[tuple[Work, Driver]], pool: ThreadPoolExecutor
    ) -> tuple[list[Program], list[Program]]:
        """Start all compilations: those that the search waits for first, the others go on while it is at work."""
        searching = [driver.compile_search(pool) for work, driver in drivers if work.search]
        alone = [
            driver.compile_alone(pool, task) for work, driver in drivers for task in work.tasks if work.alone[task.name]
        ]
        return searching, alone

    def _search(self, work: Work, driver: Driver) -> None:
        first, *others = work.tasks
        self.watch.stage(f"search {first.problem}: {'first order' if others else first.name}", 1.0)
        known = self.store.lanes()
        for lane in driver.search(known, self.watch.advance):
            if (lane.problem, lane.optimizer, lane.setting, lane.seed) not in known:
                self.store.add_lane(lane)

    def _run_winners(self, drivers: list[tuple[Work, Driver]]) -> None:
        """Optimizers take turns within each seed, so that a change of the machine's speed meets all of them alike."""
        lanes = list(self.store.lanes().values())
        total = sum(len(missing) for work, _ in drivers for missing in work.alone.values())
        self.watch.stage("run the winners alone", total)
        for problem in self.config.problems:
            here = [(work, driver) for work, driver in drivers if work.tasks[0].problem == problem]
            for seed in self.config.fresh_seeds:
                for work, driver in here:
                    for task in work.tasks:
                        if seed in work.alone[task.name]:
                            mine = (lane for lane in lanes if (lane.problem, lane.optimizer) == (problem, task.name))
                            self.store.add_run(driver.alone(task, choose(task, mine), seed))
                            self.watch.advance()

    def _facts(self) -> dict[str, Any]:
        config = self.config
        return {
            "format": store.FORMAT,
            "name": self.store.folder.name,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": self.command,
            "versions": machine.versions(),
            "device": machine.device(),
            "revision": machine.revision(),
            "seeds": config.tuning_seeds,
            "fresh_seeds": config.fresh_seeds,
            "digests": self.split.digests,
            "problems": {name: self._problem_facts(name) for name in config.problems},
            "optimizers": {name: self._optimizer_facts(name) for name in config.optimizers},
        }

    def _problem_facts(self, name: str) -> dict[str, Any]:
        arena, split = self.arenas[name], self.split
        problem = arena.problem
        return {
            "title": problem.title,
            "source": problem.source,
            "data": split.description,
            "parameters": arena.parameters,
            "examples": {part: len(getattr(split, part).targets) for part in ("train", "validation", "test")},
            "batch": arena.batch,
            "objective": problem.formula,
            "expected_start": problem.expected_start,
            "lower_bound": problem.lower_bound,
            "convex": problem.convex,
            "budget": self.tasks[name][0].budget if self.tasks[name] else problem.budget,
            "rates": self.rates[name]._asdict(),
            "optimizers": [task.name for task in self.tasks[name]],
        }

    def _optimizer_facts(self, name: str) -> dict[str, Any]:
        entry = catalog.entry(name)
        return {
            "title": entry.title,
            "order": entry.order,
            "setting": entry.setting,
            "mode": entry.batch,
            "grid": log_grid(*entry.space, self.config.settings),
            "note": entry.when,
        }
