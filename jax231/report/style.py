"""One look for every optimizer, the same in all figures: colour, dash and marker, any two of which tell it apart.

First-order methods are drawn solid, second-order ones dashed and wider. The twelve colours keep a contrast of about 3
on their background in a light and a dark form, start with Okabe and Ito's hues (safe for the common colour
blindnesses) and repeat after twelve; markers repeat after ten, so a pair of colour and marker lasts for sixty.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

COLORS = (  # light, dark
    ("#0072b2", "#4da9e8"),
    ("#d98200", "#f0ab3d"),
    ("#00845f", "#2fc79c"),
    ("#a8408f", "#e08acb"),
    ("#2f9bd3", "#93d5f7"),
    ("#c8461a", "#ff8558"),
    ("#77771a", "#c6c65c"),
    ("#3d3d3d", "#f2f2f2"),
    ("#8a1f52", "#e8688f"),
    ("#1f7f86", "#5fcbd3"),
    ("#8a5a2b", "#cfa06d"),
    ("#4a49ad", "#a3a1ff"),
)
MARKERS = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "pentagon",
    "star",
    "hexagon",
    "hourglass",
)
DASHES = ("6px,2px", "2px,2px", "9px,3px,2px,3px", "12px,3px")  # second order, in turn


class Look(NamedTuple):
    """How an optimizer is drawn; `dash` is "solid" or lengths of strokes and spaces in pixels."""

    light: str
    dark: str
    dash: str
    marker: str
    width: float


def looks(orders: Mapping[str, int]) -> dict[str, Look]:
    """A look for every optimizer, by its place in the study; `orders` maps name to 1 or 2."""
    second = [name for name, order in orders.items() if order == 2]
    return {
        name: Look(
            *COLORS[place % len(COLORS)],
            dash=DASHES[second.index(name) % len(DASHES)] if name in second else "solid",
            marker=MARKERS[place % len(MARKERS)],
            width=2.6 if name in second else 1.8,
        )
        for place, name in enumerate(orders)
    }


def polygon(marker: str) -> list[tuple[float, float]] | None:
    """Corners of a marker in the unit circle, y downwards; None for a circle."""
    regular = {"square": (4, 45), "diamond": (4, 0), "triangle-up": (3, 0), "triangle-down": (3, 180)}
    regular |= {"pentagon": (5, 0), "hexagon": (6, 0)}
    if marker in regular:
        sides, turn = regular[marker]
        return [_corner(turn + 360.0 * k / sides) for k in range(sides)]
    if marker == "star":
        return [_corner(36.0 * k, 1.1 if k % 2 == 0 else 0.45) for k in range(10)]
    if marker == "cross":
        a = 0.35
        quarter = [(a, -1.0), (a, -a), (1.0, -a), (1.0, a), (a, a), (a, 1.0)]
        return [*quarter, *((-x, -y) for x, y in quarter)]
    if marker == "hourglass":
        return [(-0.8, -0.9), (0.8, -0.9), (-0.8, 0.9), (0.8, 0.9)]
    return None


def _corner(degrees: float, radius: float = 1.0) -> tuple[float, float]:
    angle = math.radians(degrees)
    return (radius * math.sin(angle), -radius * math.cos(angle))
