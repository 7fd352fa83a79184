import math

import msgspec
import numpy as np
import pytest

from jax231.measure.summary import (
    Lane,
    Run,
    Scale,
    Spread,
    curve,
    first_reach,
    problem_scale,
    spread,
    summarize,
    summarize_problem,
)


def run(optimizer="a", seed=0, loss=(10.0, 2.0, 1.0), every=1, **changes):
    """A run on problem "p" recorded every `every` steps; a step costs 2 and takes half a second."""
    steps = [every * k for k in range(len(loss))]
    record = {
        "problem": "p",
        "optimizer": optimizer,
        "setting": 0.1,
        "seed": seed,
        "steps": steps,
        "cost": [2.0 * step for step in steps],
        "seconds": [0.5 * step for step in steps],
        "loss": list(loss),
        "test_accuracy": [0.1 + 0.1 * k for k in range(len(loss))],
        "diverged": False,
        "status": "budget",
    }
    return Run(**record | changes)


def lane(optimizer="a", seed=0, final=1.0, diverged=False, **changes):
    record = {
        "problem": "p",
        "optimizer": optimizer,
        "setting": 0.1,
        "seed": seed,
        "final": final,
        "diverged": diverged,
    }
    return Lane(**record | changes)


def test_median_counts_failures_as_infinite():
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([1.0, 2.0]) == Spread(1.5, 1.0, 2.0)
    assert spread([1.0, math.inf, 2.0]) == Spread(2.0, 1.0, math.inf)
    assert spread([1.0, math.inf]) == Spread(math.inf, 1.0, math.inf)
    assert spread([math.inf, math.inf]) == Spread(math.inf, math.inf, math.inf)
    assert spread([-math.inf, -math.inf, 0.5]).median == -math.inf
    with pytest.raises(ValueError, match="spread: expected at least one value"):
        spread([])


def test_first_reach_is_the_first_recorded_point_at_or_below():
    losses = [4.0, None, 2.0, 3.0, 1.0]
    assert first_reach([0, 1, 2, 3, 4], losses, 3.0) == 2.0
    assert first_reach([0, 1, 2, 3, 4], losses, 2.0) == 2.0
    assert first_reach([0, 1, 2, 3, 4], losses, 4.0) == 0.0
    assert first_reach([0, 1, 2, 3, 4], losses, 0.5) is None
    assert first_reach([0, 1], [None, None], 1.0) is None


def test_scale_takes_the_best_of_everything_and_one_start_a_seed():
    runs = [run(seed=0, loss=(10.0, 2.0)), run("b", seed=0, loss=(10.0, 3.0)), run(seed=1, loss=(14.0, None, 4.0))]
    assert problem_scale(runs) == Scale(2.0, 12.0)
    assert problem_scale(runs, [lane(final=3.0, best=1.0, start=99.0)]) == Scale(1.0, 12.0)
    assert problem_scale([], [lane(final=3.0, start=5.0), lane(seed=1, final=None, start=7.0)]) == Scale(3.0, 6.0)
    assert problem_scale([run(loss=(None, None))]) is None
    assert problem_scale([]) is None


def test_gap_is_one_at_the_start_and_zero_at_the_best():
    scale = Scale(2.0, 12.0)
    np.testing.assert_allclose(scale.gap([12.0, 2.0, 7.0, None]), [1.0, 0.0, 0.5, np.inf])
    assert scale.target(1e-2) == pytest.approx(2.1)
    assert np.isnan(Scale(2.0, 2.0).gap([2.0, None])).all()


def test_row_by_hand():
    # best 0, start 10: targets 1, 0.1 and 0.01
    runs = [
        run(seed=0, loss=(10.0, 1.0, 0.05, 0.0), edge="high"),
        run(seed=1, loss=(10.0, 5.0, 0.9, 0.1), edge="high"),
        run(seed=2, loss=(10.0, 5.0, 3.0, 2.0), edge="high"),
        run("b", seed=0, loss=(10.0, 0.01), status="converged"),
        run("b", seed=1, loss=(10.0, 0.1), status="converged"),
        run("b", seed=2, loss=(10.0, 30.0, None), status="diverged", diverged=True),
    ]
    lanes = [lane(final=1.0), lane(seed=1, final=None, diverged=True), lane("b")]
    b, a = summarize_problem(runs, lanes)
    assert (a.optimizer, a.setting, a.edge, a.seeds) == ("a", 0.1, "high", 3)
    assert a.final_loss == Spread(0.1, 0.0, 2.0)
    assert a.final_gap.median == pytest.approx(0.01)
    assert a.reach[1e-1].steps == Spread(2.0, 1.0, math.inf)
    assert (a.reach[1e-1].reached, a.reach[1e-1].seeds) == (2, 3)
    assert a.reach[1e-2].cost == Spread(6.0, 4.0, math.inf)
    assert a.reach[1e-2].seconds == Spread(1.5, 1.0, math.inf)
    assert a.reach[1e-3].cost.median == math.inf
    assert a.reach[1e-3].reached == 1
    assert a.accuracy == Spread(pytest.approx(0.4), pytest.approx(0.4), pytest.approx(0.4))
    assert (a.diverged, a.lanes, a.lanes_diverged) == (0, 2, 1)
    assert a.ratio == {"cost": 3.0, "seconds": 3.0}
    assert b.ratio == {"cost": 1.0, "seconds": 1.0}
    assert b.final_loss == Spread(0.1, 0.01, math.inf)
    assert b.accuracy is not None
    assert b.accuracy.low == -math.inf
    assert b.statuses == {"converged": 2, "diverged": 1}
    assert (b.diverged, b.lanes, b.lanes_diverged) == (1, 1, 0)


def test_ratio_is_infinite_where_one_missed_and_absent_where_all_did():
    reached, missed = run(loss=(10.0, 0.0)), run("b", loss=(10.0, 5.0))
    rows = summarize_problem([missed, reached])
    assert [row.optimizer for row in rows] == ["a", "b"]
    assert rows[1].ratio == {"cost": math.inf, "seconds": math.inf}
    (alone,) = summarize_problem([missed], [lane(best=0.0)])
    assert alone.ratio == {"cost": None, "seconds": None}
    assert alone.final_gap.median == pytest.approx(0.5)


def test_a_problem_without_one_finite_loss_has_rows_of_failures():
    (row,) = summarize_problem([run(loss=(None, None), diverged=True, status="diverged")])
    assert row.final_loss.median == math.inf
    assert row.final_gap.median == math.inf
    assert row.reach[1e-1].reached == 0


def test_a_start_that_nothing_improves_reaches_no_target():
    (row,) = summarize_problem([run(loss=(1.0, 1.0))])
    assert row.reach[1e-1].reached == 0
    assert row.final_gap.median == math.inf


def test_accuracy_is_absent_where_nobody_measured_it():
    (row,) = summarize_problem([run(test_accuracy=[None, None, None])])
    assert row.accuracy is None


def test_counts_and_compilation_are_medians():
    runs = [run(seed=k, counts={"loss": 10.0 * k, "hvp": 1.0}, compile_seconds=float(k)) for k in range(3)]
    (row,) = summarize_problem(runs)
    assert row.counts == {"loss": 10.0, "hvp": 1.0}
    assert row.compile_seconds == 1.0


def test_problems_are_summarized_apart():
    rows = summarize([run(), run(problem="q", loss=(5.0, 4.0))], [lane(final=0.5)])
    assert list(rows) == ["p", "q"]
    assert rows["q"][0].final_gap.median == 0.0
    assert rows["p"][0].final_gap.median == pytest.approx(0.5 / 9.5)


def by_loop(runs, measure, x):
    """The step functions' median at one x, by looking at every record."""
    held = []
    for one in runs:
        last = max(k for k, at in enumerate(getattr(one, measure)) if at <= x)
        gone = one.diverged and x > getattr(one, measure)[-1]
        held.append(math.inf if gone or one.loss[last] is None else one.loss[last])
    held.sort()
    return held[len(held) // 2], held[0], held[-1]


@pytest.mark.parametrize("measure", ["steps", "cost", "seconds"])
def test_curve_is_the_median_of_step_functions(measure):
    runs = [
        run(seed=0, loss=(9.0, 5.0, 4.0, 3.5), every=2),
        run(seed=1, loss=(8.0, 6.0, 1.0), every=1, status="converged"),
        run(seed=2, loss=(7.0, 9.0, None), every=2, diverged=True, status="diverged"),
    ]
    found = curve(runs, measure)
    assert found.x.tolist() == sorted({x for one in runs for x in getattr(one, measure)})
    for x, *values in zip(*found, strict=True):
        assert tuple(values) == by_loop(runs, measure, x)


def test_thinned_curve_keeps_its_ends_and_its_values():
    rng = np.random.default_rng(0)
    runs = [run(seed=k, loss=tuple(rng.uniform(1, 2, 2000))) for k in range(3)]
    thin = curve(runs, "cost", points=50)
    assert len(thin.x) <= 52
    assert (thin.x[0], thin.x[-1]) == (0.0, 3998.0)
    for x, *values in zip(*thin, strict=True):
        assert tuple(values) == by_loop(runs, "cost", x)


def test_even_number_of_seeds_takes_the_mean_of_the_middle():
    found = curve([run(seed=0, loss=(4.0, 2.0)), run(seed=1, loss=(6.0, 3.0))], "steps")
    assert found.median.tolist() == [5.0, 2.5]


def test_records_become_runs_and_lists_must_fit():
    record = msgspec.to_builtins(run())
    assert msgspec.convert(record | {"from a later version": 1}, Run) == run()
    with pytest.raises(ValueError, match=r"run of a on p: expected lists of one length.*loss=2"):
        run(loss=(1.0, 2.0), steps=[0, 1, 2])
    with pytest.raises(ValueError, match="curve: expected measure to be one of"):
        curve([run()], "epochs")
    with pytest.raises(ValueError, match=r"a on p: expected final runs of one setting; got settings=\[0.1, 0.2\]"):
        summarize_problem([run(), run(seed=1, setting=0.2)])
