"""What the plan says is left to do."""

from jax231.compare.costs import Rates
from jax231.compare.plan import Plan, Work, row
from jax231.compare.task import Task
from jax231.optim import catalog


def task(name: str) -> Task:
    return Task("softmax", catalog.entry(name), (0.01, 0.1, 1.0), 10.0)


FAMILY = [task("sgd"), task("adam")]


RATES = Rates(gradient_seconds=1e-3, loss=0.5, hvp=2.0, hessian=100.0, spread={})


def test_a_fresh_family_is_one_row_of_all_its_lanes_and_runs():
    made = row(Work(FAMILY, True, {"sgd": [2, 3], "adam": [2, 3]}), seeds=2, rates=RATES, programs=3)
    assert (made.problem, made.optimizers) == ("softmax", ("sgd", "adam"))
    assert (made.programs, made.lanes, made.runs, made.budget) == (3, 2 * 3 * 2, 4, 10.0)


def test_what_is_done_is_left_out():
    made = row(Work(FAMILY, False, {"sgd": [], "adam": [3]}), seeds=2, rates=RATES, programs=1)
    assert (made.programs, made.lanes, made.runs) == (1, 0, 1)


def test_seconds_grow_with_the_work_and_add_up():
    works = [Work(FAMILY, search, {"sgd": [1], "adam": [1]}) for search in (True, False)]
    more, less = (row(work, seeds=1, rates=RATES, programs=1) for work in works)
    assert more.seconds > less.seconds > 0
    slower = RATES._replace(gradient_seconds=1.0)
    assert row(works[0], seeds=1, rates=slower, programs=1).seconds > more.seconds
    assert row(works[0], seeds=1, rates=RATES, programs=9).seconds > more.seconds
    plan = Plan((more, less))
    assert plan.seconds == more.seconds + less.seconds
    assert plan.programs == more.programs + less.programs
    assert Plan(()).seconds == Plan(()).programs == 0


def test_the_least_steps_of_newton_are_expected_even_beyond_the_budget():
    newton, lbfgs = (row(Work([task(name)], True, {name: [1]}), 1, RATES, 0).seconds for name in ("newton", "lbfgs"))
    assert newton > 10 * lbfgs
