"""The bench's own bookkeeping on two small problems; how good the minimisers are is never tested here."""

import json
import math

import bench_optimizers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from document import replace_between
from optimizer_bench import solving, tables
from optimizer_bench.counted import counted
from optimizer_bench.minimisers import SIDES, Limits
from optimizer_bench.more_garbow_hillstrom import PROBLEMS
from optimizer_bench.solving import Record, Solution, summaries

from jax231.optim.minimise import minimise

CHOSEN = ("scipy_bfgs", "scipy_lbfgsb")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on the first two problems."""
    config = bench_optimizers.Config(
        problems=(1, 2), sides=CHOSEN, repeats=1, budget=0.0, results=tmp_path_factory.mktemp("bench") / "bench.json"
    )
    lines: list[str] = []
    with jax.enable_x64(True):
        records, results = bench_optimizers.run(config.chosen, config, lines.append)
    return records, results, lines, config


def test_every_side_is_counted_and_timed(run):
    records, _, lines, _ = run
    assert [(record.number, list(record.sides)) for record in records] == [(1, list(CHOSEN)), (2, list(CHOSEN))]
    for record in records:
        for solution in record.sides.values():
            assert solution.solved
            assert solution.claimed
            assert 0 < solution.needed <= solution.evaluations == solution.gradients
            assert solution.seconds > 0
    assert lines[0].startswith("[ 1/2")


def test_figures_are_written(run):
    records, _, _, config = run
    written = json.loads(config.results.read_text())
    assert [record["name"] for record in written["records"]] == [record.name for record in records]
    assert written["records"][0]["sides"]["scipy_bfgs"]["evaluations"] == records[0].sides["scipy_bfgs"].evaluations
    assert [summary["solved"] for summary in written["summaries"]] == [2, 2]
    assert {"device", "versions", "revision", "limits", "command"} <= set(written)


def test_the_document_has_a_row_for_every_side_and_problem(run, tmp_path):
    records, results, _, _ = run
    path = tmp_path / "README.md"
    path.write_text(f"before\n{bench_optimizers.BEGIN}\nreplaced\n{bench_optimizers.END}\nafter\n")
    replace_between(path, bench_optimizers.BEGIN, bench_optimizers.END, tables.document(results, records))
    text = path.read_text()
    assert "replaced" not in text
    assert text.count("\n| ") == 1 + len(CHOSEN) + 1 + len(records)


@pytest.mark.usefixtures("x64")
def test_counts_are_those_that_minimisers_report():
    problem = PROBLEMS[0]
    fun, log = counted(problem.objective)
    value_and_grad = jax.jit(jax.value_and_grad(fun))
    found = scipy.optimize.minimize(lambda x: tuple(map(np.asarray, value_and_grad(x))), problem.start, jac=True)
    jax.effects_barrier()
    assert log.gradients == len(log.values) == found.nfev
    assert min(log.values) == found.fun  # in float64

    fun, log = counted(problem.objective)
    end = jax.block_until_ready(SIDES["lbfgs"].prepare(fun, Limits(1e-5, 10_000))(problem.start))
    jax.effects_barrier()
    evaluations, gradients = len(log.values), log.gradients
    found = minimise(fun, problem.start)
    assert end.claimed
    assert problem.reached(float(found.value)) == 0
    assert gradients == found.counts.gradient
    assert evaluations == found.counts.gradient + found.counts.loss


def test_values_alone_are_counted_apart():
    fun, log = counted(jnp.sum)
    jax.jit(fun)(jnp.ones(3))
    jax.jit(jax.grad(fun))(jnp.ones(2))
    jax.effects_barrier()
    assert (log.values, log.gradients) == ([3.0, 2.0], 1)
    assert (log.until(2.5), log.until(1.0)) == (2, None)


def test_a_claim_without_a_minimum_is_false():
    good, lost = Solution(0.0, 0.0, True, 10, 10, 8, 1e-3, 0.1), Solution(None, None, True, 40, 20)
    quiet = Solution(0.0, 0.0, False, 40, 40, 20, 4e-3, 0.1)
    records = [
        Record(1, "a", 2, 2, {"lbfgs": good, "optax": quiet}),
        Record(2, "b", 2, 2, {"lbfgs": good, "optax": lost}),
    ]
    first, second = summaries(records)
    assert (first.solved, first.false_claims, first.unclaimed, first.evaluations) == (2, 0, 0, pytest.approx(10))
    assert (second.solved, second.false_claims, second.unclaimed, second.common) == (1, 1, 1, 1)
    assert (second.evaluations, second.needed, second.milliseconds) == pytest.approx((40, 20, 4))
    assert tables.cell(lost) == "**40: not finite!**"
    assert solving._geometric_mean([1.0, None]) is None
    assert solving._geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"numbers of problems from 1 to 35; got unknown=\[36\]"):
        bench_optimizers.Config(problems=(36,))
    with pytest.raises(ValueError, match=r"a gtol of zero or more; got gtol=nan"):
        bench_optimizers.Config(gtol=math.nan)
