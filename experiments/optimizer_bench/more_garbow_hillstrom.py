"""The 35 test problems of Moré, Garbow and Hillstrom: sums of squares with a standard start and known minima.

A problem is its residuals; what is minimised is the sum of their squares. The letters are the paper's: parameters x of
length n, m residuals, t, u, v and y for data; indices there count from 1. Residuals are a model's values minus data,
which for some is the paper's with the other sign.

Source: Moré, Garbow & Hillstrom 1981, "Testing Unconstrained Optimization Software", ACM TOMS 7(1), pages 17-41.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Point = Float[Array, " n"]
Residuals = Float[Array, " m"]


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem at one size.

    `minima` are the values of the paper's minima, in more digits than there, the least first, and of those that were
    found since where a comment says so; `listed` those in the paper that are none: they are approached at infinity or,
    of problem 18, a saddle's, from which no gradient leads away.
    """

    number: int
    name: str
    residuals: Callable[[Point], Residuals]
    m: int
    start: np.ndarray
    minima: tuple[float, ...]
    listed: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """The number of parameters."""
        return self.start.size

    @property
    def title(self) -> str:
        """The name with the size, which several forms of a problem differ by."""
        return f"{self.name} ({self.n})"

    def objective(self, x: Point) -> Float[Array, ""]:
        """The sum of squares."""
        return jnp.sum(jnp.square(self.residuals(x)))

    def reached(self, value: float, tolerance: float = 1e-6) -> float | None:
        """The known minimum f that `value` lies within ``tolerance * (1 + |f|)`` of; None where there is none."""
        near = (f for f in self.minima + self.listed if abs(value - f) <= tolerance * (1 + abs(f)))
        return min(near, key=lambda f: abs(value - f), default=None)


def rosenbrock(x: Point) -> Residuals:
    """Problems 1 and 21: one curved valley for each two parameters."""
    a, b = x.reshape(-1, 2).T
    return jnp.stack([10 * (b - a**2), 1 - a], 1).ravel()


def freudenstein_roth(x: Point) -> Residuals:
    """Problem 2: two curves that meet once and nearly touch elsewhere."""
    a, b = x
    return jnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def powell_badly_scaled(x: Point) -> Residuals:
    """Problem 3: the parameters of the solution are five powers of ten apart."""
    a, b = x
    return jnp.stack([1e4 * a * b - 1, jnp.exp(-a) + jnp.exp(-b) - 1.0001])


def brown_badly_scaled(x: Point) -> Residuals:
    """Problem 4: the parameters of the solution are twelve powers of ten apart."""
    a, b = x
    return jnp.stack([a - 1e6, b - 2e-6, a * b - 2])


def beale(x: Point) -> Residuals:
    """Problem 5."""
    a, b = x
    return jnp.stack([1.5 - a * (1 - b), 2.25 - a * (1 - b**2), 2.625 - a * (1 - b**3)])


def jennrich_sampson(x: Point, m: int) -> Residuals:
    """Problem 6: a line fitted by the sum of two exponential functions."""
    i = np.arange(1.0, m + 1)
    return jnp.exp(i * x[0]) + jnp.exp(i * x[1]) - (2 + 2 * i)


def helical_valley(x: Point) -> Residuals:
    """Problem 7; the angle goes from -1/4 to 3/4 of a turn, and so jumps where x1 = 0 and x2 < 0."""
    a, b, c = x
    turn = 0.25 + jnp.arctan2(-a, b) / (2 * np.pi)
    return jnp.stack([10 * (c - 10 * turn), 10 * (jnp.sqrt(a**2 + b**2) - 1), c])


BARD = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])


def bard(x: Point) -> Residuals:
    """Problem 8."""
    u = np.arange(1.0, 16.0)
    v = 16 - u
    return x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]) - BARD


GAUSSIAN = np.array([9, 44, 175, 540, 1295, 2420, 3521, 3989, 3521, 2420, 1295, 540, 175, 44, 9]) / 1e4


def gaussian(x: Point) -> Residuals:
    """Problem 9: height, width and centre of a bell curve."""
    t = (8 - np.arange(1.0, 16.0)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - GAUSSIAN


MEYER = np.array(
    [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872.0]
)


def meyer(x: Point) -> Residuals:
    """Problem 10: a thermistor's resistance, 5 kiloohm up to 35, in a valley that is hard to follow."""
    t = 45 + 5 * np.arange(1.0, 17.0)
    return x[0] * jnp.exp(x[1] / (t + x[2])) - MEYER


def gulf(x: Point, m: int) -> Residuals:
    """Problem 11; the paper's ``y m i x2`` stands for ``y - x2``."""
    t = np.arange(1.0, m + 1) / 100
    y = 25 + (-50 * np.log(t)) ** (2 / 3)
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - t


def box(x: Point, m: int) -> Residuals:
    """Problem 12."""
    t = np.arange(1.0, m + 1) / 10
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x: Point) -> Residuals:
    """Problems 13 and 22: for each four parameters a minimum where the Hessian has half the rank."""
    a, b, c, d = x.reshape(-1, 4).T
    rows = [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]
    return jnp.stack(rows, 1).ravel()


def wood(x: Point) -> Residuals:
    """Problem 14."""
    a, b, c, d = x
    valleys = [10 * (b - a**2), 1 - a, np.sqrt(90) * (d - c**2), 1 - c]
    return jnp.stack([*valleys, np.sqrt(10) * (b + d - 2), (b - d) / np.sqrt(10)])


KOWALIK_OSBORNE = np.array(
    [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
)  # fmt: skip
KOWALIK_OSBORNE_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


def kowalik_osborne(x: Point) -> Residuals:
    """Problem 15: the rate of an enzyme's reaction, a ratio of quadratic polynomials."""
    u = KOWALIK_OSBORNE_U
    return x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3]) - KOWALIK_OSBORNE


def brown_dennis(x: Point, m: int) -> Residuals:
    """Problem 16: large residuals at the solution."""
    t = np.arange(1.0, m + 1) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


OSBORNE_1 = np.array(
    [844, 908, 932, 936, 925, 908, 881, 850, 818, 784, 751, 718, 685, 658, 628, 603, 580,
     558, 538, 522, 506, 490, 478, 467, 457, 448, 438, 431, 424, 420, 414, 411, 406]
) / 1e3  # fmt: skip


def osborne_1(x: Point) -> Residuals:
    """Problem 17: two exponential functions and a constant."""
    t = 10 * np.arange(33.0)
    return x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4]) - OSBORNE_1


def biggs_exp6(x: Point, m: int) -> Residuals:
    """Problem 18: three exponential functions."""
    t = np.arange(1.0, m + 1) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


OSBORNE_2 = np.array(
    [1366, 1191, 1112, 1013, 991, 885, 831, 847, 786, 725, 746, 679, 608, 655, 616, 606, 602,
     626, 651, 724, 649, 649, 694, 644, 624, 661, 612, 558, 533, 495, 500, 423, 395,
     375, 372, 391, 396, 405, 428, 429, 523, 562, 607, 653, 672, 708, 633, 668, 645,
     632, 591, 559, 597, 625, 739, 710, 729, 720, 636, 581, 428, 292, 162, 98, 54]
) / 1e3  # fmt: skip


def osborne_2(x: Point) -> Residuals:
    """Problem 19: three bell curves on an exponential function."""
    t = np.arange(65.0) / 10
    heights, widths, centres = x[1:4, None], x[5:8, None], x[8:, None]
    bells = heights * jnp.exp(-((t - centres) ** 2) * widths)
    return x[0] * jnp.exp(-t * x[4]) + bells.sum(0) - OSBORNE_2


def watson(x: Point) -> Residuals:
    """Problem 20: a polynomial z with z' - z^2 = 1 at 29 points; worse conditioned the higher its degree."""
    t = np.arange(1.0, 30.0) / 29
    powers = t[:, None] ** np.arange(x.size)
    slopes = np.arange(1.0, x.size) * powers[:, :-1]
    equations = x[1:] @ slopes.T - (x @ powers.T) ** 2 - 1
    return jnp.concatenate([equations, x[:1], x[1:2] - x[:1] ** 2 - 1])


PENALTY = 1e-5


def penalty_1(x: Point) -> Residuals:
    """Problem 23."""
    return jnp.append(np.sqrt(PENALTY) * (x - 1), jnp.sum(x**2) - 0.25)


def penalty_2(x: Point) -> Residuals:
    """Problem 24."""
    i = np.arange(2.0, x.size + 1)
    y = np.exp(i / 10) + np.exp((i - 1) / 10)
    growth = jnp.exp(x / 10)
    smooth = np.sqrt(PENALTY) * jnp.concatenate([growth[1:] + growth[:-1] - y, growth[1:] - np.exp(-0.1)])
    ball = x**2 @ np.arange(x.size, 0.0, -1) - 1
    return jnp.concatenate([x[:1] - 0.2, smooth, ball[None]])


def variably_dimensioned(x: Point) -> Residuals:
    """Problem 25."""
    total = (x - 1) @ np.arange(1.0, x.size + 1)
    return jnp.concatenate([x - 1, jnp.stack([total, total**2])])


def trigonometric(x: Point) -> Residuals:
    """Problem 26."""
    i = np.arange(1.0, x.size + 1)
    return x.size - jnp.cos(x).sum() + i * (1 - jnp.cos(x)) - jnp.sin(x)


def brown_almost_linear(x: Point) -> Residuals:
    """Problem 27: linear but for one product."""
    return jnp.append(x[:-1] + x.sum() - (x.size + 1), jnp.prod(x) - 1)


def _nodes(n: int) -> np.ndarray:
    """The n inner points of an even division of [0, 1]."""
    return np.arange(1.0, n + 1) / (n + 1)


def discrete_boundary_value(x: Point) -> Residuals:
    """Problem 28: u'' = (u + t + 1)^3 / 2 with u = 0 at both ends."""
    t, h = _nodes(x.size), 1 / (x.size + 1)
    padded = jnp.pad(x, 1)
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + t + 1) ** 3 / 2


def discrete_integral_equation(x: Point) -> Residuals:
    """Problem 29: the equation of problem 28 by its Green's function."""
    t, h = _nodes(x.size), 1 / (x.size + 1)
    green = np.minimum.outer(t, t) * (1 - np.maximum.outer(t, t))
    return x + h / 2 * (x + t + 1) ** 3 @ green  # which is symmetric


def broyden_tridiagonal(x: Point) -> Residuals:
    """Problem 30."""
    padded = jnp.pad(x, 1)
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def broyden_banded(x: Point) -> Residuals:
    """Problem 31: five neighbours below and one above."""
    padded = jnp.pad(x * (1 + x), (5, 1))
    neighbours = sum(padded[k : k + x.size] for k in (0, 1, 2, 3, 4, 6))
    return x * (2 + 5 * x**2) + 1 - neighbours


def linear_full_rank(x: Point, m: int) -> Residuals:
    """Problem 32."""
    return jnp.pad(x, (0, m - x.size)) - 2 / m * x.sum() - 1


def linear_rank_1(x: Point, m: int) -> Residuals:
    """Problem 33: the minimum is a hyperplane."""
    return (x @ np.arange(1.0, x.size + 1)) * np.arange(1.0, m + 1) - 1


def linear_rank_1_zero(x: Point, m: int) -> Residuals:
    """Problem 34: problem 33 without its first and last column and row."""
    rows = np.concatenate([[0], np.arange(1.0, m - 1), [0]])
    return (x[1:-1] @ np.arange(2.0, x.size)) * rows - 1


def chebyquad(x: Point, m: int) -> Residuals:
    """Problem 35: points whose mean is the integral of the first m Chebyshev polynomials over [0, 1]."""
    y = 2 * x - 1
    polynomials = [jnp.ones_like(y), y]
    for _ in range(m - 1):
        polynomials.append(2 * y * polynomials[-1] - polynomials[-2])
    integrals = np.array([0 if i % 2 else -1 / (i**2 - 1) for i in range(1, m + 1)])
    return jnp.stack(polynomials[1:]).mean(1) - integrals


def _x(*values: float) -> np.ndarray:
    return np.array(values, float)


PROBLEMS: tuple[Problem, ...] = (
    Problem(1, "Rosenbrock", rosenbrock, 2, _x(-1.2, 1), (0.0,)),
    Problem(2, "Freudenstein and Roth", freudenstein_roth, 2, _x(0.5, -2), (0.0, 48.98425367924)),
    Problem(3, "Powell badly scaled", powell_badly_scaled, 2, _x(0, 1), (0.0,)),
    Problem(4, "Brown badly scaled", brown_badly_scaled, 3, _x(1, 1), (0.0,)),
    Problem(5, "Beale", beale, 3, _x(1, 1), (0.0,)),
    Problem(6, "Jennrich and Sampson", partial(jennrich_sampson, m=10), 10, _x(0.3, 0.4), (124.3621823556,)),
    Problem(7, "helical valley", helical_valley, 3, _x(-1, 0, 0), (0.0,)),
    Problem(8, "Bard", bard, 15, _x(1, 1, 1), (8.214877306579e-3,), (17.42869333333,)),
    Problem(9, "Gaussian", gaussian, 15, _x(0.4, 1, 0), (1.127932769619e-8,)),
    Problem(10, "Meyer", meyer, 16, _x(0.02, 4000, 250), (87.94585517,)),
    Problem(11, "Gulf research and development", partial(gulf, m=99), 99, _x(5, 2.5, 0.15), (0.0,)),
    Problem(12, "Box three-dimensional", partial(box, m=10), 10, _x(0, 10, 20), (0.0,)),
    Problem(13, "Powell singular", powell_singular, 4, _x(3, -1, 0, 1), (0.0,)),
    Problem(14, "Wood", wood, 6, _x(-3, -1, -3, -1), (0.0,)),
    Problem(15, "Kowalik and Osborne", kowalik_osborne, 11, _x(0.25, 0.39, 0.415, 0.39),
            (3.075056038492e-4,), (1.027343048695e-3,)),
    Problem(16, "Brown and Dennis", partial(brown_dennis, m=20), 20, _x(25, 5, -5, -1), (85822.20162636,)),
    Problem(17, "Osborne 1", osborne_1, 33, _x(0.5, 1.5, -1, 0.01, 0.02), (5.464894697483e-5,)),
    # From the start x1 = x5 and x3 = x6 for every descent along gradients; 0, not in the paper, is outside that plane.
    Problem(18, "Biggs EXP6", partial(biggs_exp6, m=13), 13, _x(1, 2, 1, 1, 1, 1), (0.0,), (5.6556499255e-3,)),
    Problem(19, "Osborne 2", osborne_2, 65, _x(1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5), (4.013773629355e-2,)),
    *(Problem(20, "Watson", watson, 31, np.zeros(n), (minimum,))
      for n, minimum in ((6, 2.287670053552e-3), (9, 1.399760138093e-6), (12, 4.722381103e-10))),
    *(Problem(21, "extended Rosenbrock", rosenbrock, n, np.tile([-1.2, 1.0], n // 2), (0.0,)) for n in (10, 100)),
    *(Problem(22, "extended Powell singular", powell_singular, n, np.tile([3.0, -1, 0, 1], n // 4), (0.0,))
      for n in (12, 100)),
    *(Problem(23, "penalty I", penalty_1, n + 1, np.arange(1.0, n + 1), (minimum,))
      for n, minimum in ((4, 2.249977500900e-5), (10, 7.087651467090e-5))),
    *(Problem(24, "penalty II", penalty_2, 2 * n, np.full(n, 0.5), (minimum,))
      for n, minimum in ((4, 9.376293007355e-6), (10, 2.936605374567e-4))),
    *(Problem(25, "variably dimensioned", variably_dimensioned, n + 2, 1 - np.arange(1.0, n + 1) / n, (0.0,))
      for n in (10, 100)),
    # The paper has 0 alone; the Hessians at the others are positive definite, and the start leads to the first of them.
    Problem(26, "trigonometric", trigonometric, 10, np.full(10, 0.1), (0.0, 2.795056121879e-5, 4.218633887922e-5)),
    *(Problem(27, "Brown almost-linear", brown_almost_linear, n, np.full(n, 0.5), (0.0, 1.0)) for n in (10, 40)),
    *(Problem(28, "discrete boundary value", discrete_boundary_value, n, _nodes(n) * (_nodes(n) - 1), (0.0,))
      for n in (10, 100)),
    *(Problem(29, "discrete integral equation", discrete_integral_equation, n, _nodes(n) * (_nodes(n) - 1), (0.0,))
      for n in (10, 100)),
    *(Problem(30, "Broyden tridiagonal", broyden_tridiagonal, n, np.full(n, -1.0), (0.0,)) for n in (10, 100)),
    *(Problem(31, "Broyden banded", broyden_banded, n, np.full(n, -1.0), (0.0,)) for n in (10, 100)),
    *(Problem(32, "linear, full rank", partial(linear_full_rank, m=2 * n), 2 * n, np.ones(n), (float(n),))
      for n in (10, 100)),
    Problem(33, "linear, rank 1", partial(linear_rank_1, m=20), 20, np.ones(10), (20 * 19 / 82,)),
    Problem(34, "linear, rank 1, zeros", partial(linear_rank_1_zero, m=20), 20, np.ones(10), (454 / 74,)),
    # The paper lacks the lower of the two minima for n = 10.
    *(Problem(35, "Chebyquad", partial(chebyquad, m=n), n, _nodes(n), minima) for n, minima in (
        (7, (0.0,)), (8, (3.516873725678e-3,)), (9, (0.0,)), (10, (4.772713696375e-3, 6.503954800882e-3)))),
)  # fmt: skip
