import operator
from typing import NamedTuple

import jax.numpy as jnp
import pytest

from jax231.optim import counts
from jax231.optim.reuse import Kept, value_and_grad
from jax231.optim.wrapped import Wrapped


class Inner(NamedTuple):
    counts: counts.Counts
    stalled: bool
    kept: Kept


KEPT = Kept(jnp.asarray(True), jnp.asarray(-1.0), jnp.ones(2))
STATE = Wrapped(Inner(counts.none(), False, KEPT))


def test_counts_are_those_of_the_inner_optimizer():
    assert STATE.counts is STATE.inner.counts
    assert STATE.stalled is False
    with pytest.raises(AttributeError):
        operator.attrgetter("counts")(Wrapped(()))
    assert getattr(Wrapped(()), "stalled", None) is None


def test_what_the_inner_optimizer_kept_is_not_handed_on_and_counts_as_evaluated_anew():
    value, _ = value_and_grad(jnp.sum, jnp.ones(2), STATE)
    assert value == 2
    assert not STATE.fresh().kept.known
    assert Wrapped((1, 2)).fresh() == (1, 2)
