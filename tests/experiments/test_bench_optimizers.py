"""The bench's own bookkeeping on small cases; how good the minimisers are is never tested here."""

import dataclasses
import json
import math
from types import SimpleNamespace

import bench_optimizers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from optimizer_bench import (
    autoencoder,
    cases,
    newton,
    objectives,
    page,
    parts,
    products,
    scaling,
    solving,
    starts,
    tables,
    timed,
)
from optimizer_bench.counted import counted
from optimizer_bench.minimisers import MINIMISERS, Limits
from optimizer_bench.more_garbow_hillstrom import PROBLEMS
from optimizer_bench.parts import Part
from optimizer_bench.registry import PARTS
from optimizer_bench.sides import SIDES
from optimizer_bench.solving import Record, Solution, summaries

from jax231.optim.minimise import minimise

CHOSEN = ("lbfgs", "scipy_lbfgsb_gradient")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on the first test problem, and on a timed case that is small."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "README.md").write_text(f"before\n{bench_optimizers.BEGIN}\nreplaced\n{bench_optimizers.END}\nafter\n")
    config = bench_optimizers.Config(
        parts=("rosenbrock", "problems"), problems=(1,), sides=CHOSEN, rounds=1, budget=0.0,
        results=folder / "bench.json", document=folder / "README.md",
    )  # fmt: skip
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timed, "CASES", [case for case in cases.CASES if case.name == "rosenbrock-100"])
        measured = bench_optimizers.run(config, lines.append)
    return measured, lines, config


def test_every_side_is_counted_and_timed(run):
    measured, _, _ = run
    (record,) = PARTS["problems"].module.records(measured["problems"])
    assert list(record.sides) == list(CHOSEN)
    for solution in record.sides.values():
        assert solution.solved
        assert solution.claimed
        assert 0 < solution.needed <= solution.evaluations == solution.gradients
        assert solution.seconds > 0
    figures = measured["rosenbrock"].data["rosenbrock-100"]
    assert list(figures) == list(CHOSEN)
    for figure in figures.values():
        assert figure["agrees"]
        assert figure["grad_norm"] <= 1e-8
        assert figure["evaluations"] >= figure["gradients"] > 0
        assert figure["seconds"] > 0


def test_figures_and_tables_are_written_part_by_part(run):
    measured, _, config = run
    written = json.loads(config.results.read_text())
    assert list(written) == ["rosenbrock", "problems"]
    assert {"device", "versions", "revision", "command", "measured"} <= set(written["problems"])
    assert parts.read(config.results).keys() == measured.keys()
    text = config.document.read_text()
    assert "replaced" not in text
    assert SIDES["lbfgs"].title in text
    assert text.count("<details>") == 2
    assert "L-BFGS, Rosenbrock, 100 dimensions" in page.document(parts.read(config.results))


def test_sides_that_end_elsewhere_do_not_agree():
    case = next(case for case in cases.CASES if case.name == "rosenbrock-100")
    ends = {"lbfgs": np.ones(100), "optax": np.zeros(100), "torch": np.full(100, np.nan)}
    figures = {side: timed.Figure(seconds=1.0 + place) for place, side in enumerate(ends)}
    timed.compare(case, ends, figures)
    assert [figure.agrees for figure in figures.values()] == [True, False, False]
    assert (figures["lbfgs"].value, figures["optax"].value, figures["torch"].value) == (0, 50, None)


@pytest.mark.usefixtures("x64")
def test_softmax_regression_is_its_definition():
    rng = np.random.default_rng(0)
    theta, x, labels = rng.normal(size=40), rng.normal(size=(5, 3)), np.array([0, 1, 9, 3, 3])
    scores = x @ theta[:30].reshape(3, 10) + theta[30:]
    losses = np.log(np.exp(scores).sum(1)) - scores[np.arange(5), labels]
    value = objectives.softmax_regression(jnp.asarray(theta), jnp.asarray(x), jnp.asarray(labels))
    assert float(value) == pytest.approx(losses.mean() + 0.5e-3 * (theta**2).sum(), rel=1e-12)


def test_products_are_of_the_same_matrix():
    calls = products.programs((6, 5, 10), 7)
    results = {name: jax.flatten_util.ravel_pytree(call(*arguments))[0] for name, (call, arguments) in calls.items()}
    for name in ("hvp", "ggnvp"):
        error = jnp.linalg.norm(results[name] - results[f"linearized {name}"]) / jnp.linalg.norm(results[name])
        assert float(error) < 1e-4


def test_a_value_above_its_target_is_bold():
    seconds = {"gradient": 1.0, "linearized hvp": 1.4, "hvp": 2.5, "linearized ggnvp": 1.1, "ggnvp": 1.6}
    part = Part("", data={name: {"seconds": taken, "spread": 0.0} for name, taken in seconds.items()})
    assert "| 1.4; **2.5** | 1.45; 2 |" in page.target_lines({"products": part})[2]


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
    end = jax.block_until_ready(MINIMISERS["lbfgs"].prepare(fun, Limits(1e-5, 10_000), ())(problem.start))
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
    assert solving.geometric_mean([1.0, None]) is None
    assert solving.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


@pytest.mark.usefixtures("x64")
def test_a_step_is_measured_on_its_way_with_its_state_and_its_work():
    programs, facts = scaling.prepared(30, ("bfgs",))
    call, (x, state, *given) = programs["bfgs"]
    assert facts["bfgs"]["state"] == sum(leaf.nbytes for leaf in jax.tree.leaves(state)) > 30**2 * 8
    assert facts["bfgs"]["temporary"] > 0
    assert facts["bfgs"]["used"]["gradient"] >= 1
    assert int(state.iterations) == scaling.WALK
    before, after = (objectives.softmax_regression(point, *given) for point in (x, call(x, state, *given)[0]))
    assert float(after) < float(before) < math.log(10)


def test_powers_are_those_of_the_larger_half(tmp_path):
    sizes = {"newton": (30, 100, 300, 3000), "bfgs": (30, 100, 300, 3000)}
    rows = [
        {"method": method, "n": n, "seconds": max(n, 200) ** 2 * 1e-9, "spread": 0.1, "state": 0, "temporary": 8 * n**3,
         "used": {"gradient": 1}}
        for method in (scaling.GRADIENT, *scaling.METHODS)
        for n in (*sizes.get(method, (*sizes["bfgs"], 10_000, 100_000)),)
    ]  # fmt: skip
    part = Part("", data={"rows": rows})
    curves = [scaling.curve(part, method) for method in scaling.METHODS]
    assert [curve.time for curve in curves] == pytest.approx([2.0] * 4)
    assert [curve.memory for curve in curves] == pytest.approx([3.0] * 4)
    text = page.document({"scaling": part})
    assert "| L-BFGS | 2.00; 3.00 | 9 | 2.16e+05 | 1 gradient | 1e+04 | 8e+09 | 1 gradient |" in text
    assert "| BFGS | 2.00; 3.00 | 9 | 2.16e+05 | 1 gradient | - | - | - |" in text
    pytest.importorskip("matplotlib")
    from optimizer_bench import scaling_figure

    scaling_figure.draw(curves, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


@pytest.mark.usefixtures("x64")
def test_starts_are_counted_and_timed(monkeypatch):
    monkeypatch.setattr(starts, "CASE", dataclasses.replace(starts.CASE, n=4))
    monkeypatch.setattr(starts, "STARTS", 3)
    part = Part("", data=starts.measure(True, ""))
    assert part.data["converged"] == 3
    assert 0 < part.data["efficiency"] <= 1
    (row,) = starts.targets("starts", part)
    seconds = part.data["seconds"]
    mean = seconds["one after another"] / 3
    assert row.values == pytest.approx([seconds["all"] / mean, seconds["all"] / seconds["standard start"]])
    assert "3 of 3 converged" in starts.lines("starts", part)[0]


@pytest.mark.usefixtures("x64")
def test_both_hessians_of_newtons_part_are_one(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(newton, "CASE", dataclasses.replace(newton.CASE, n=30))
    monkeypatch.setattr(cases, "data", lambda case: (rng.normal(size=(20, 2)), rng.integers(10, size=20)))
    part = Part("", data=newton.measure(True, ""))
    assert part.data["grad_norm"] <= 1e-6
    assert part.data["difference"] < 1e-12
    (row,) = newton.targets("newton", part)
    assert row.values[0] == part.data["iterations"] > 0
    assert row.values[1] > 0


@pytest.fixture
def small_autoencoder(monkeypatch):
    """Six pixels, one rate, one seed."""
    images = np.random.default_rng(0).integers(256, size=(2000, 6), dtype=np.uint8)
    split = SimpleNamespace(train=SimpleNamespace(images=images))
    small = {
        "WIDTHS": (6, 4, 3, 2, 3, 4, 6),
        "INCOMING": 2,
        "RATES": (1e-2,),
        "SOLVERS": ((2, 2),),
        "SEEDS": (0,),
        "load": lambda name: split,
    }
    for name, value in small.items():
        monkeypatch.setattr(autoencoder, name, value)


RATES = {"loss": 0.4, "gradient_of_part": 0.5, "ggnvp": 0.6}


@pytest.mark.usefixtures("small_autoencoder")
def test_gauss_newton_and_adam_are_judged_at_equal_cost(monkeypatch):
    monkeypatch.setattr(autoencoder, "exchange_rates", lambda x, parts: RATES | {"parts": parts, "examples": len(x)})
    part = Part("", data=autoencoder.measure(True, ""))
    ours, by_adam = part.data["runs"]
    assert by_adam["curve"] == [(10, by_adam["loss"])]
    assert all(cost <= 10 for cost, _ in ours["curve"])
    # A gradient on all images, two on a part, products for the start and two iterations; one loss more each going back.
    assert ours["curve"][1][0] in [pytest.approx(1 + 2 * 0.5 + 3 * 0.6 + losses * 0.4) for losses in (1, 2)]
    assert ours["curve"][-1][1] < ours["curve"][0][1]
    (row,) = autoencoder.targets("autoencoder", part)
    assert row.values == [ours["loss"] / by_adam["loss"]] * 2
    text = autoencoder.lines("autoencoder", part)[0]
    assert "Adam rate 0.01: " in text
    assert "1 part in 2, 2 CG iterations: " in text


@pytest.mark.usefixtures("small_autoencoder")
def test_finished_runs_are_kept(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(autoencoder, "exchange_rates", lambda x, parts: done.append("rates") or RATES)
    for name in ("run_adam", "run_gauss_newton"):
        monkeypatch.setattr(autoencoder, name, lambda *_, name=name: done.append(name) or {"loss": 1.0, "curve": []})
    first, second = (autoencoder.measure(False, str(tmp_path)) for _ in range(2))
    assert done == ["rates", "run_gauss_newton", "run_gauss_newton", "run_adam", "run_adam"]
    assert first == second


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"numbers of problems from 1 to 35; got unknown=\[36\]"):
        bench_optimizers.Config(problems=(36,))
    with pytest.raises(ValueError, match=r"a gtol of zero or more; got gtol=nan"):
        bench_optimizers.Config(gtol=math.nan)
