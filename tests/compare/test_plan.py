"""What the plan says is left to do."""

from jax231.compare.plan import Plan, Work, row
from jax231.compare.task import Task
from jax231.optim import catalog


def task(name: str) -> Task:
    return Task("softmax", catalog.entry(name), (0.01, 0.1, 1.0), 10.0)


FAMILY = [task("sgd"), task("adam")]


def test_a_fresh_family_is_one_sweep_and_a_program_a_rule():
    made = row(Work(FAMILY, True, {"sgd": [2, 3], "adam": [2, 3]}), seeds=2, gradient_seconds=1e-3)
    assert (made.problem, made.optimizers) == ("softmax", ("sgd", "adam"))
    assert (made.programs, made.lanes, made.runs, made.budget) == (3, 2 * 3 * 2, 4, 10.0)


def test_a_second_order_method_is_one_program_for_both():
    work = Work([task("lbfgs")], True, {"lbfgs": [2]})
    made = row(work, seeds=1, gradient_seconds=1e-3)
    assert (made.programs, made.lanes, made.runs) == (1, 3, 1)
    assert row(work._replace(search=False), 1, 1e-3).programs == 1


def test_what_is_done_is_left_out():
    made = row(Work(FAMILY, False, {"sgd": [], "adam": [3]}), seeds=2, gradient_seconds=1e-3)
    assert (made.programs, made.lanes, made.runs) == (1, 0, 1)


def test_seconds_grow_with_the_work_and_add_up():
    works = [Work(FAMILY, search, {"sgd": [1], "adam": [1]}) for search in (True, False)]
    more, less = (row(work, seeds=1, gradient_seconds=1e-3) for work in works)
    assert more.seconds > less.seconds > 0
    assert row(works[0], seeds=1, gradient_seconds=1.0).seconds > more.seconds
    plan = Plan((more, less))
    assert plan.seconds == more.seconds + less.seconds
    assert plan.programs == more.programs + less.programs
    assert Plan(()).seconds == Plan(()).programs == 0
