"""Muon: momentum with all its singular values brought to about one, for parameters that are matrices."""

import jax
import optax
from optax import contrib

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_positive, require_rate
from jax231.core.types import PyTree
from jax231.optim.dtypes import keep_dtypes
from jax231.optim.paths import Chosen, everything


def muon(
    rate: optax.ScalarOrSchedule,
    decay: jax.Array | float = 0.95,
    *,
    adam_rate: optax.ScalarOrSchedule | None = None,
    weight_decay: jax.Array | float = 0.0,
    matrices: Chosen = everything,
    iterations: int = 5,
) -> optax.GradientTransformationExtraArgs:
    """Steps ``x += -rate * (0.2 * sqrt(max(fan in, fan out)) * O + weight_decay * x)``, O near the polar factor of m.

    O comes from the Nesterov momentum m by `iterations` of a quintic Newton-Schulz iteration, whose singular values end
    up between about 0.7 and 1.2 instead of at 1. The scale gives steps the root mean square of Adam's, so that one rate
    serves both. A kernel (..., fan_out), such as (h, w, c_in, c_out), is read as the matrix of its last axis against
    all others. Vectors and scalars, and what `matrices` leaves out by name (the authors leave out embeddings and the
    last layer), go to NAdam at `adam_rate`, by default `rate`, without weight decay.

    PyTorch's Muon rounds to bfloat16 inside the iteration and does not correct the momentum for its start at 0.

    Raises:    ValueError if a rate is not positive, `weight_decay` negative, `decay` outside [0, 1] where they can be
               seen, or `iterations` is below 1.
    Source:    Optax (`optax.contrib.muon`); Jordan et al. 2024, "Muon"; Liu et al. 2025 (arXiv:2502.16982), section
               2.2, for the scale.
    """
    adam_rate = rate if adam_rate is None else adam_rate
    require_positive("muon", rate=rate, adam_rate=adam_rate)
    require_nonnegative("muon", weight_decay=weight_decay)
    require_rate("muon", "decay", decay)
    require(iterations >= 1, "muon", "at least one iteration", iterations=iterations)

    def axes(path, x) -> contrib.MuonDimensionNumbers | None:
        if x.ndim < 2 or not matrices(tree.name(path)):
            return None
        return contrib.MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1)

    def dimensions(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(axes, params)

    return keep_dtypes(
        contrib.muon(
            rate,
            beta=decay,
            ns_steps=iterations,
            weight_decay=weight_decay,
            adam_learning_rate=adam_rate,
            muon_weight_dimension_numbers=dimensions,
            consistent_rms=0.2,
        )
    )
