"""The record of a run, point by point."""

import math

import pytest

from jax231.compare.task import Recorder, Task, Winner
from jax231.optim import catalog

TASK = Task("softmax", catalog.entry("adam"), (0.1, 1.0), 5.0)


def recorder(*losses: float) -> Recorder:
    made = Recorder(TASK, Winner(0.1, "low"), 7)
    for step, loss in enumerate(losses):
        made.add(step, 0.5 * step, 0.01 * step, loss, 0.25)
    return made


def test_a_record_holds_the_points_in_order():
    run = recorder(2.3, 1.5).finish("budget", {"gradient": 1}, 0.75)
    assert (run.problem, run.optimizer, run.setting, run.seed, run.edge) == ("softmax", "adam", 0.1, 7, "low")
    assert (run.steps, run.cost, run.seconds) == ([0, 1], [0.0, 0.5], [0.0, 0.01])
    assert (run.loss, run.test_accuracy) == ([2.3, 1.5], [0.25, 0.25])
    assert (run.status, run.diverged, run.counts, run.compile_seconds) == ("budget", False, {"gradient": 1}, 0.75)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_none(bad):
    run = recorder(2.3, bad).finish("diverged", {}, 0.0)
    assert run.loss == [2.3, None]
    assert run.diverged


def test_a_run_without_points_is_refused():
    with pytest.raises(ValueError):
        recorder().finish("budget", {}, 0.0)
