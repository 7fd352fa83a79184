"""Which settings to run: ranges, points at random or on a grid, coarse to fine, successive halving, k folds."""

from jax231.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=("folds", "grid", "halving", "points", "refine", "space"),
)
