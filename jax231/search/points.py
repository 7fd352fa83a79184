"""Points of the unit cube to try: at random, evenly scattered, or on a grid."""

import itertools

import numpy as np
from jaxtyping import Float

from jax231.core.checks import require

METHODS = ("random", "sobol", "grid")


def points(method: str, count: int, axes: int, seed: int) -> Float[np.ndarray, "n d"]:
    """`count` points of the unit cube with so many `axes`, a function of the arguments alone.

    "random": independent and uniform. "sobol": Owen-scrambled Sobol points, which leave smaller gaps. "grid": the
    product of even steps, ends included, with as many a side as `count` allows, so at most `count` points.

    Raises:  ValueError for another method, no point or no axis.
    Source:  Bergstra & Bengio 2012 (JMLR 13): of n points on a grid an axis sees only n^(1/d) numbers, of n random
             ones n; section 4 on low-discrepancy points. CS231n lecture 6.
    """
    require(method in METHODS, "points", f"a method among {', '.join(METHODS)}", method=method)
    require(count >= 1 and axes >= 1, "points", "at least one point and one axis", count=count, axes=axes)
    if method == "grid":
        return grid(count, axes)
    if method == "sobol":
        from scipy.stats import qmc

        whole = qmc.Sobol(axes, rng=np.random.default_rng(seed)).random_base2(max(count - 1, 1).bit_length())
        return whole[:count]
    return np.random.Generator(np.random.PCG64(seed)).random((count, axes))


def grid(count: int, axes: int) -> Float[np.ndarray, "n d"]:
    """The largest full grid of at most `count` points; a side of one point lies in the middle."""
    side = next(side for side in itertools.count(1) if (side + 1) ** axes > count)
    steps = np.linspace(0.0, 1.0, side) if side > 1 else np.array([0.5])
    return np.array(list(itertools.product(steps, repeat=axes)))
