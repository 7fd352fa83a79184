"""The state of an optimizer that runs another one."""

from typing import Any, NamedTuple

from jax231.core.types import PyTree
from jax231.optim import counts


class Wrapped(NamedTuple):
    """The inner optimizer's state, and what the wrapper keeps besides.

    `counts` and `stalled` are those of the inner one where it has them. Its ``kept`` is not handed on: it belongs to
    the function that the inner optimizer sees, which is not the one that the caller evaluates.
    """

    inner: PyTree
    own: PyTree = ()

    @property
    def counts(self) -> counts.Counts:
        """What the inner optimizer used."""
        return self.inner.counts

    @property
    def stalled(self) -> Any:
        """Whether the inner optimizer found no way down."""
        return self.inner.stalled

    def fresh(self) -> PyTree:
        """The inner state, told that its value and gradient at the present parameters were evaluated anew."""
        kept = getattr(self.inner, "kept", None)
        return self.inner if kept is None else self.inner._replace(kept=kept._replace(known=kept.known & False))
