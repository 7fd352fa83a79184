"""Whole small studies: what they write, how they go on after an interruption, and which setting they choose."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from jax231.compare import store, study
from jax231.compare.config import Config
from jax231.compare.plan import Plan
from jax231.compare.task import Task, Winner
from jax231.compare.watch import Silent
from jax231.data.errors import MissingDataError
from jax231.measure.summary import Lane, Number
from jax231.optim import catalog
from tests.compilations import kept_in

CONFIG = Config(
    problems=("softmax",),
    optimizers=("sgd", "adam", "lbfgs"),
    settings=2,
    seeds=2,
    budget=6.0,
    examples=60,
    batch_size=20,
)
STEPS = 18  # of a first-order run: three batches a pass, six passes


class Listener(Silent):
    """Notes what it hears, and interrupts the study at the `last` time that it hears of progress."""

    def __init__(self, last: int | None = None):
        self.last, self.heard = last, 0
        self.plans: list[Plan] = []
        self.stages: list[str] = []
        self.notes: list[str] = []

    def plan(self, plan: Plan) -> None:
        self.plans.append(plan)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, title: str, total: Number) -> None:
        self.stages.append(title)

    def advance(self, units: Number = 1) -> None:
        self.heard += 1
        if self.heard == self.last:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")) as variables:
        yield {**os.environ, **variables}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, environment) -> tuple[Path, Listener]:
    """A study that nothing disturbed."""
    folder, listener = tmp_path_factory.mktemp("runs") / "finished", Listener()
    study.run(CONFIG, folder, watcher=listener)
    return folder, listener


@pytest.fixture(scope="module")
def records(finished) -> store.Store:
    return store.Store(finished[0])


def without_times(folder: Path) -> tuple[dict, dict]:
    """All records by key; a second occurrence of a key would be an error here."""
    lanes, runs = {}, {}
    for line in (folder / "sweep.jsonl").read_text().splitlines():
        lane = json.loads(line)
        key = tuple(lane[name] for name in ("problem", "optimizer", "setting", "seed"))
        assert key not in lanes
        lanes[key] = lane
    for line in (folder / "runs.jsonl").read_text().splitlines():
        run = json.loads(line)
        key = tuple(run[name] for name in ("problem", "optimizer", "seed"))
        assert key not in runs
        runs[key] = {name: value for name, value in run.items() if name not in ("seconds", "compile_seconds")}
    return lanes, runs


# What is written


def test_the_files_are_there(finished):
    names = {path.name for path in finished[0].iterdir()} - {"writer.pid"}
    assert names == {"config.toml", "study.json", "preprocess.npz", "sweep.jsonl", "runs.jsonl"}
    assert store.read_config(finished[0]) == CONFIG


def test_it_says_once_for_whom_batches_are_not(finished):
    (note,) = (text for text in finished[1].notes if "noise" in text)
    assert note.startswith("Batches are not for lbfgs, which get the whole split: ")


def test_every_optimizer_gets_the_same_lanes_and_runs(records):
    lanes, runs = records.lanes(), records.runs()
    for name in CONFIG.optimizers:
        grid = records.study()["optimizers"][name]["grid"]
        low, high = catalog.entry(name).space
        assert grid == [low, high]
        assert {key[2:] for key in lanes if key[1] == name} == {(setting, seed) for setting in grid for seed in (0, 1)}
        assert {key[2] for key in runs if key[1] == name} == {2, 3}
    assert len(lanes) == 3 * 2 * 2
    assert len(runs) == 3 * 2


def test_starts_are_the_same_for_all_optimizers(records):
    for seed in (0, 1):
        assert len({lane.start for lane in records.lanes().values() if lane.seed == seed}) == 1
    for seed in (2, 3):
        starts = {(run.loss[0], run.test_accuracy[0]) for run in records.runs().values() if run.seed == seed}
        assert len(starts) == 1


def test_curves_begin_at_nothing_and_grow(records):
    for run in records.runs().values():
        assert (run.steps[0], run.cost[0], run.seconds[0]) == (0, 0, 0)
        assert all(np.diff(run.steps) > 0)
        assert all(np.diff(run.cost) > 0)
        assert all(np.diff(run.seconds) >= 0)
        assert all(0 <= share <= 1 for share in run.test_accuracy)
        assert min(run.loss) < run.loss[0]


def test_budgets_are_kept(records):
    for record in (*records.lanes().values(), *records.runs().values()):
        steps, cost = (record.steps, record.cost) if isinstance(record, Lane) else (record.steps[-1], record.cost[-1])
        if record.optimizer == "lbfgs":  # whole steps; a line search may need several gradients
            assert cost <= CONFIG.budget + 25
            assert cost >= CONFIG.budget or record.status != "budget"
        else:
            assert (steps, cost) == (STEPS, CONFIG.budget)


def test_counts_times_rates_are_the_cost(records):
    for run in records.runs().values():
        if run.optimizer == "lbfgs":
            rates = records.study()["problems"]["softmax"]["rates"]
            total = run.counts["loss"] * rates["loss"] + run.counts["gradient"]
            assert run.cost[-1] == pytest.approx(total, rel=1e-6)
            assert run.counts["hvp"] == run.counts["hessian"] == 0
        else:
            assert run.counts == {"gradient": STEPS}


def test_the_setting_that_runs_has_the_lowest_median(records):
    for run in records.runs().values():
        finals: dict[float, list[float]] = {}
        for lane in records.lanes().values():
            if lane.optimizer == run.optimizer:
                finals.setdefault(lane.setting, []).append(np.inf if lane.diverged else lane.final)
        medians = {setting: statistics.median(values) for setting, values in finals.items()}
        assert medians[run.setting] == min(medians.values())
        assert run.edge == ("low" if run.setting == min(medians) else "high")


def test_the_facts_of_a_study(records):
    facts = records.study()
    assert facts["format"] == store.FORMAT
    assert (facts["seeds"], facts["fresh_seeds"]) == ([0, 1], [2, 3])
    assert {"jax", "jax231", "numpy", "optax"} <= set(facts["versions"])
    assert facts["device"]["platform"]
    assert facts["digests"]
    problem = facts["problems"]["softmax"]
    assert (problem["parameters"], problem["batch"], problem["budget"]) == (650, 20, 6.0)
    assert problem["examples"]["train"] == 60
    assert problem["rates"]["gradient_seconds"] > 0
    assert problem["optimizers"] == list(CONFIG.optimizers)


def test_the_plan_is_what_was_done(finished, records):
    (plan,) = finished[1].plans
    assert sum(row.lanes for row in plan.rows) == len(records.lanes())
    assert sum(row.runs for row in plan.rows) == len(records.runs())
    assert {name for row in plan.rows for name in row.optimizers} == set(CONFIG.optimizers)
    assert plan.seconds > 0


def test_smaller_steps_of_more_batches_cost_the_same(tmp_path):
    config = replace(CONFIG, optimizers=("sgd",), settings=1, seeds=1, batch_size=0, budget=3.0)
    study.run(config, tmp_path / "whole")
    (run,) = store.Store(tmp_path / "whole").runs().values()
    assert (run.steps, run.cost) == ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0])
    assert run.edge is None


# Going on


def test_a_finished_study_does_nothing(finished):
    folder = finished[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}
    listener = Listener()
    study.run(CONFIG, folder, watcher=listener)
    assert listener.plans == [Plan(())]
    assert not [title for title in listener.stages if title.startswith(("search", "run"))]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"} == before


def interrupted(folder: Path, source: Path, last: int) -> Listener:
    """A study with the exchange rates of `source`, interrupted at the `last` sign of progress."""
    folder.mkdir()
    for name in ("config.toml", "study.json"):
        shutil.copy(source / name, folder)
    listener = Listener(last)
    with pytest.raises(KeyboardInterrupt):
        study.run(CONFIG, folder, watcher=listener)
    return listener


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.75, 0.85, 0.94])
def test_an_interrupted_study_goes_on_to_the_same_bits(finished, tmp_path, share):
    folder, listener = finished
    mine = tmp_path / "mine"
    interrupted(mine, folder, max(1, round(share * (listener.heard - 1))))
    study.run(CONFIG, mine)
    assert without_times(mine) == without_times(folder)


def test_a_study_that_is_interrupted_again_and_again_ends(finished, tmp_path):
    mine = tmp_path / "mine"
    for last in (12, 30, 26, 9, 1):
        try:
            study.run(CONFIG, mine, watcher=Listener(last))
        except KeyboardInterrupt:
            continue
    study.run(CONFIG, mine)
    assert without_times(mine) == without_times(finished[0])


def test_lost_records_are_made_again(finished, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(finished[0], mine)
    for name, kept in (("sweep.jsonl", 5), ("runs.jsonl", 2)):
        lines = (mine / name).read_bytes().splitlines(keepends=True)
        (mine / name).write_bytes(b"".join(lines[:kept]) + lines[kept][:40])
    listener = Listener()
    study.run(CONFIG, mine, watcher=listener)
    assert without_times(mine) == without_times(finished[0])
    assert sum(row.runs for row in listener.plans[0].rows) == 4


SCRIPT = """
import sys
from pathlib import Path
from jax231.compare import store, study

class Teller:
    def plan(self, plan): print("plan", flush=True)
    def stage(self, title, total): print(title, flush=True)
    def advance(self, units=1.0): pass
    def note(self, text): pass

study.run(store.read_config(Path(sys.argv[1])), Path(sys.argv[1]), watcher=Teller())
"""


def test_a_killed_study_goes_on(finished, tmp_path, environment):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("config.toml", "study.json"):
        shutil.copy(finished[0] / name, mine)
    command = [sys.executable, "-c", SCRIPT, str(mine)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if line.startswith("search"):
                break
        else:
            pytest.fail("the study ended before it searched")
        sweep, deadline = mine / "sweep.jsonl", time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not sweep.exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    if process.returncode == -signal.SIGKILL:
        assert (mine / "writer.pid").read_text() == str(process.pid)
    study.run(CONFIG, mine)
    assert without_times(mine) == without_times(finished[0])


def test_another_configuration_is_refused(finished):
    before = {path.name: path.read_bytes() for path in finished[0].iterdir()}
    with pytest.raises(store.FolderError, match=r"budget 6\.0 -> 7\.0"):
        study.run(replace(CONFIG, budget=7.0), finished[0])
    assert {path.name: path.read_bytes() for path in finished[0].iterdir()} == before


def test_data_that_are_not_there_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="mnist"):
        study.run(replace(CONFIG, data="mnist"), tmp_path / "run", data_dir=tmp_path)


# The choice


GRID = (0.1, 1.0, 10.0)


def chosen(*losses: tuple[float | None, ...], grid: tuple[float, ...] = GRID) -> Winner:
    """The choice among settings with the final losses of a row each; None is a diverged lane."""
    lanes = [
        Lane("softmax", "sgd", setting, seed, loss, loss is None)
        for setting, row in zip(grid, losses, strict=True)
        for seed, loss in enumerate(row)
    ]
    return study.choose(Task("softmax", catalog.entry("sgd"), grid, 1.0), lanes)


@pytest.mark.parametrize(
    ("losses", "winner"),
    [
        (((3.0,), (1.0,), (2.0,)), Winner(1.0, None)),
        (((1.0,), (2.0,), (3.0,)), Winner(0.1, "low")),
        (((3.0,), (2.0,), (1.0,)), Winner(10.0, "high")),
        (((2.0,), (1.0,), (1.0,)), Winner(1.0, None)),  # of equal ones the smaller
        (((9.0, 2.0, 2.1), (3.0, 3.0, 3.0), (0.0, 0.0, None)), Winner(10.0, "high")),  # the median, not the mean
        (((2.0, 2.0, 2.0), (3.0, 1.0, 2.5), (0.0, None, None)), Winner(0.1, "low")),  # two of three diverged
        (((None,), (5.0,), (None,)), Winner(1.0, None)),
        (((None,), (None,), (None,)), Winner(0.1, None)),  # no edge where nothing ran well
    ],
)
def test_the_choice(losses, winner):
    assert chosen(*losses) == winner


def test_a_single_setting_has_no_edges():
    assert chosen((1.0,), grid=(1.0,)) == Winner(1.0, None)


def test_a_diverged_lane_with_a_finite_loss_is_infinite():
    task = Task("softmax", catalog.entry("sgd"), GRID, 1.0)
    low, *others = (
        Lane("softmax", "sgd", setting, 0, loss, False) for setting, loss in zip(GRID, (1, 2, 3), strict=True)
    )
    lanes = [Lane(**{**asdict(low), "diverged": True}), *others]
    assert study.choose(task, lanes) == Winner(1.0, None)
