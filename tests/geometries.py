"""Small sliding windows for hypothesis, every form of stride, padding and dilation among them."""

from typing import NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


class Drawn(NamedTuple):
    size: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: object
    ends: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    groups: int


def ends_of(size, window, stride, padding, dilation):
    """((top, bottom), (left, right)) by the definitions, "SAME" by search."""
    if padding == "VALID":
        return ((0, 0), (0, 0))
    if isinstance(padding, int):
        return ((padding,) * 2,) * 2
    if padding != "SAME":
        return padding
    ends = []
    for n, k, s, d in zip(size, window, stride, dilation, strict=True):
        total = 0
        while n + total < (k - 1) * d + 1 or (n + total - (k - 1) * d - 1) // s + 1 < -(-n // s):
            total += 1
        ends.append((total // 2, total - total // 2))
    return tuple(ends)


@st.composite
def convolutions(draw, groups=True, dilation=True) -> Drawn:
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    window, stride = draw(pairs), draw(pairs)
    dilations = draw(pairs) if dilation else (1, 1)
    sides = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), st.integers(0, 2), st.tuples(sides, sides)))
    ends = ends_of(size, window, stride, padding, dilations)
    for n, k, d, (low, high) in zip(size, window, dilations, ends, strict=True):
        assume((k - 1) * d + 1 <= n + low + high)
    return Drawn(size, window, stride, padding, ends, dilations, draw(st.integers(1, 2)) if groups else 1)


@st.composite
def poolings(draw) -> Drawn:
    drawn = draw(convolutions(groups=False, dilation=False))
    assume(all(max(ends) < k for ends, k in zip(drawn.ends, drawn.window, strict=True)))
    return drawn


def normal(seed: int, *shape: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
