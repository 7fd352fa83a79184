"""The test problems against published values, differences, loops and SciPy."""

from functools import cache

import jax
import numpy as np
import pytest
import scipy.optimize
from optimizer_bench import more_garbow_hillstrom as mgh
from optimizer_bench.more_garbow_hillstrom import PROBLEMS, Problem

SMALL = pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.n <= 12], ids=lambda problem: problem.title)

pytestmark = pytest.mark.usefixtures("x64")

AT_START = {
    "Rosenbrock (2)": 24.2,
    "Freudenstein and Roth (2)": 400.5,
    "Powell badly scaled (2)": 1.13526171734838,
    "Brown badly scaled (2)": 999998000003,
    "Beale (2)": 14.203125,
    "Jennrich and Sampson (2)": 64.58562**2,
    "helical valley (3)": 2500,
    "Bard (3)": 6.456136**2,
    "Gaussian (3)": 3.88810699116688e-06,
    "Meyer (3)": 4.115347e4**2,
    "Gulf research and development (3)": 12.11070582556949,
    "Box three-dimensional (3)": 1031.1538106093985,
    "Powell singular (4)": 215,
    "Wood (4)": 19192,
    "Kowalik and Osborne (4)": 7.289151e-2**2,
    "Brown and Dennis (4)": 7926693.33699744,
    "Osborne 1 (5)": 0.9375640**2,
    "Biggs EXP6 (6)": 0.77907007565597,
    "Osborne 2 (11)": 1.446865**2,
    "Watson (6)": 30,
    "Watson (9)": 30,
    "Watson (12)": 30,
    "extended Rosenbrock (10)": 24.2 * 5,
    "extended Rosenbrock (100)": 24.2 * 50,
    "extended Powell singular (12)": 215 * 3,
    "extended Powell singular (100)": 215 * 25,
    "penalty I (4)": 885.06264,
    "penalty I (10)": 148032.56535,
    "penalty II (4)": 2.34000880546302,
    "penalty II (10)": 162.65277656596712,
    "trigonometric (10)": 0.00707575946622261,
    "Brown almost-linear (10)": 16.53022**2,
    "Brown almost-linear (40)": 128.0264**2,
    "Broyden tridiagonal (10)": 21,
    "Broyden tridiagonal (100)": 111,
    "Broyden banded (10)": 360,
    "Broyden banded (100)": 3600,
    "linear, full rank (10)": 50,
    "Chebyquad (8)": 0.1965139**2,
    "Chebyquad (9)": 0.1699499**2,
    "Chebyquad (10)": 0.1837478**2,
}
"""Published, some as norms of the residuals (squares here), or simple sums."""


@cache
def compiled(problem: Problem):
    """The value, the residuals and their Jacobian, in one program."""
    call = jax.jit(lambda x: (problem.objective(x), problem.residuals(x), jax.jacfwd(problem.residuals)(x)))
    return lambda x: tuple(np.asarray(out) for out in call(np.asarray(x, float)))


STARTS = {
    "Freudenstein and Roth": [(5.5, 4.5)],
    "trigonometric": [np.where(np.arange(10) == 8, 0.2, 0.0225), np.where(np.arange(10) == 5, 0.26, 0.06)],
    "Brown almost-linear": [np.append(np.zeros(9), 11.0)],
    "Chebyquad": [(0.07, 0.28, 0.17, 0.61, 0.35, 0.47, 0.62, 0.96, 0.84, 0.79)],
}
"""From where the minima are found that the standard start does not lead to."""


def test_there_are_all_of_them():
    assert sorted({problem.number for problem in PROBLEMS}) == list(range(1, 36))
    assert len({problem.title for problem in PROBLEMS}) == len(PROBLEMS)
    assert set(AT_START) <= {problem.title for problem in PROBLEMS}


@SMALL
def test_value_at_the_start(problem):
    value, residuals, _ = compiled(problem)(problem.start)
    assert residuals.shape == (problem.m,)
    assert residuals.dtype == np.float64
    np.testing.assert_allclose(value, residuals @ residuals, rtol=1e-14)
    if problem.title in AT_START:
        np.testing.assert_allclose(value, AT_START[problem.title], rtol=1e-6)


@SMALL
def test_jacobian(problem):
    x = problem.start * 1.01 + 0.001
    direction = np.cos(np.arange(problem.n)) * np.maximum(np.abs(x), 0.1)
    _, _, jacobian = compiled(problem)(x)
    (_, above, _), (_, below, _) = (compiled(problem)(x + h * direction) for h in (1e-5, -1e-5))
    slope = jacobian @ direction
    rounding = np.finfo(float).eps * np.linalg.norm(above) / 1e-5
    assert np.linalg.norm((above - below) / 2e-5 - slope) <= 1e-7 * np.linalg.norm(slope) + rounding


@SMALL
def test_scipy_reaches_every_minimum(problem):
    evaluate = compiled(problem)
    starts = [problem.start, *(start for start in STARTS.get(problem.name, []) if len(start) == problem.n)]
    ends = [
        scipy.optimize.least_squares(
            lambda x: evaluate(x)[1], start, lambda x: evaluate(x)[2], method="lm", xtol=1e-12, ftol=1e-12
        )
        for start in starts
    ]
    assert {problem.reached(2 * end.cost) for end in ends} == set(problem.minima)
    for minimum in problem.minima:  # to the digits that are written
        assert min(abs(2 * end.cost - minimum) for end in ends) <= 1e-8 * minimum + 1e-20


def test_values_at_infinity():
    bard, kowalik_osborne = (next(p for p in PROBLEMS if p.name == name) for name in ("Bard", "Kowalik and Osborne"))
    far = 1e12
    assert bard.reached(float(compiled(bard)((mgh.BARD.mean(), -far, -far))[0])) == bard.listed[0]

    # With x1 and the denominator growing alike: y - (u^2 + c u) / (a u + b), the best three parameters by SciPy.
    u = mgh.KOWALIK_OSBORNE_U
    best = scipy.optimize.least_squares(
        lambda p: mgh.KOWALIK_OSBORNE - (u**2 + u * p[0]) / (u * p[1] + p[2]), (-14, -45, -28), method="lm"
    )
    x = far * np.array([1, best.x[0] / far, best.x[1], best.x[2]])
    assert kowalik_osborne.reached(2 * best.cost) == kowalik_osborne.listed[0]
    assert kowalik_osborne.reached(float(compiled(kowalik_osborne)(x)[0])) == kowalik_osborne.listed[0]


def test_value_at_a_saddle():
    problem = next(problem for problem in PROBLEMS if problem.name == "Biggs EXP6")
    evaluate = compiled(problem)
    plane = np.eye(6)[:, :4] + np.eye(6)[:, [4, 1, 5, 3]] * [1, 0, 1, 0]
    end = scipy.optimize.least_squares(
        lambda x: evaluate(plane @ x)[1], problem.start[:4], lambda x: evaluate(plane @ x)[2] @ plane, method="lm"
    )
    assert problem.reached(2 * end.cost) == problem.listed[0]
    _, residuals, jacobian = evaluate(plane @ end.x)
    assert np.abs(residuals @ jacobian).max() < 1e-6
    away = np.array([1, 0, 0, 0, -1, 0]), np.array([0, 0, 1, 0, 0, -1])
    steps = [1e-2 * (np.cos(angle) * away[0] + np.sin(angle) * away[1]) for angle in np.linspace(0, np.pi, 19)]
    assert min(evaluate(plane @ end.x + step)[0] for step in steps) < 2 * end.cost


def test_the_nearest_known_minimum():
    problem = Problem(0, "", mgh.rosenbrock, 2, np.zeros(2), (0.0, 100.0), (2.0,))
    assert problem.reached(9e-7) == 0.0
    assert problem.reached(1.1e-6) is None
    assert problem.reached(100 - 9e-5) == 100.0
    assert problem.reached(2 + 2.9e-6) == 2.0
    assert problem.reached(float("nan")) is None


def boundary_value_by_loop(x):
    n = len(x)
    h = 1 / (n + 1)
    x = [0, *x, 0]
    return [2 * x[i] - x[i - 1] - x[i + 1] + h**2 * (x[i] + i * h + 1) ** 3 / 2 for i in range(1, n + 1)]


def integral_equation_by_loop(x):
    n = len(x)
    h = 1 / (n + 1)
    t = [j * h for j in range(n + 1)]
    x = [0, *x]
    rows = []
    for i in range(1, n + 1):
        below = sum(t[j] * (x[j] + t[j] + 1) ** 3 for j in range(1, i + 1))
        above = sum((1 - t[j]) * (x[j] + t[j] + 1) ** 3 for j in range(i + 1, n + 1))
        rows.append(x[i] + h * ((1 - t[i]) * below + t[i] * above) / 2)
    return rows


def tridiagonal_by_loop(x):
    n = len(x)
    x = [0, *x, 0]
    return [(3 - 2 * x[i]) * x[i] - x[i - 1] - 2 * x[i + 1] + 1 for i in range(1, n + 1)]


def banded_by_loop(x):
    n = len(x)
    x = [0, *x]
    near = {i: [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i] for i in range(1, n + 1)}
    return [x[i] * (2 + 5 * x[i] ** 2) + 1 - sum(x[j] * (1 + x[j]) for j in near[i]) for i in range(1, n + 1)]


def watson_by_loop(x):
    rows = []
    for i in range(1, 30):
        t = i / 29
        slope = sum((j - 1) * x[j - 1] * t ** (j - 2) for j in range(2, len(x) + 1))
        rows.append(slope - sum(x[j - 1] * t ** (j - 1) for j in range(1, len(x) + 1)) ** 2 - 1)
    return [*rows, x[0], x[1] - x[0] ** 2 - 1]


def chebyquad_by_loop(x):
    rows = []
    for i in range(1, len(x) + 1):
        shifted = np.polynomial.Chebyshev.basis(i, domain=[0, 1])
        integral = shifted.integ()(1) - shifted.integ()(0)
        rows.append(sum(shifted(value) for value in x) / len(x) - integral)
    return rows


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("discrete boundary value", boundary_value_by_loop),
        ("discrete integral equation", integral_equation_by_loop),
        ("Broyden tridiagonal", tridiagonal_by_loop),
        ("Broyden banded", banded_by_loop),
        ("Watson", watson_by_loop),
        ("Chebyquad", chebyquad_by_loop),
    ],
)
def test_residuals_by_loop(name, loop):
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    x = np.random.default_rng(0).normal(size=problem.n)
    np.testing.assert_allclose(compiled(problem)(x)[1], loop(x), rtol=1e-11, atol=1e-12)
