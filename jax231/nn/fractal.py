"""Fractal blocks: columns of 1, 2, 4, ... convolutions side by side, joined wherever several end in one row."""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional import fractal
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout, Noisy
from jax231.nn.norm import BatchNorm

Chosen = Float[Array, "m columns"]
"""`fractal.global_path`'s choice of a column for the whole net, a row for the batch or one an example."""


class FractalConv(Layer):
    """3x3 convolution, dropout above 0, batch normalisation, ReLU: the authors' order."""

    def __init__(self, cin: int, cout: int, *, dropout: float = 0.0, share: float = 1.0, rngs: nnx.Rngs):
        self.conv = Conv(cin, cout, 3, padding=1, bias=False, rngs=rngs)
        self.dropout = Dropout(dropout, share=share, rngs=rngs) if dropout * share else None
        self.norm = BatchNorm(cout, relu=True, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h w cout"]:
        """The activations."""
        x = self.conv(x)
        return self.norm(x if self.dropout is None else self.dropout(x))


class GlobalPath(Noisy):
    """Chooses one column for a whole net with probability `rate`, `fractal.global_path`."""

    kind = "global_path"

    def __init__(self, rate: float, columns: int, *, rngs: nnx.Rngs):
        super().__init__(rate, rngs=rngs)
        self.columns = columns

    def __call__(self, draws: int) -> Chosen:
        """So many independent choices; for training."""
        return fractal.global_path(self.key(), self.chance(), draws, self.columns)


class Join(Noisy):
    """The mean of several columns, some of which are dropped in training, `fractal.join`.

    Kind "drop_path": each branch falls with that probability, but not all of them, in one draw for the batch or one for
    each row of `chosen`; a column that was chosen for the whole net stays alone.
    """

    kind = "drop_path"

    def __call__(
        self, branches: Sequence[Float[Array, "n h w c"]], chosen: Chosen | None = None
    ) -> Float[Array, "n h w c"]:
        """The mean, in evaluation of all."""
        if self.deterministic:
            return fractal.join(branches)
        draws = 1 if chosen is None else len(chosen)
        weights = fractal.local_paths(self.key(), self.chance(), draws, len(branches))
        return fractal.join(branches, weights if chosen is None else fractal.join_weights(weights, chosen))


class FractalBlock(Layer):
    """``f_1 = conv`` and ``f_{c+1}(x) = join(f_c(f_c(x)), conv(x))``, with `columns` for c.

    Column k, from 0, has ``2**k`` convolutions that divide ``2**(columns - 1)`` rows evenly. Joins that follow on each
    other at once are one, of all columns that end in its row, as in the paper's figure; what it puts out goes on in
    each of them. Whatever training drops is computed all the same, and moves its running statistics: the program is
    one for all draws.

    Shapes:  (n, h, w, cin) -> (n, h, w, cout).
    Raises:  ValueError without columns.
    Source:  Larsson et al. 2017 (arXiv:1605.07648), figure 1 and equation 2.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        columns: int,
        *,
        drop_path: float = 0.15,
        dropout: float = 0.0,
        share: float = 1.0,
        rngs: nnx.Rngs,
    ):
        require(columns >= 1, "FractalBlock", "at least one column", columns=columns)
        options = {"dropout": dropout, "share": share, "rngs": rngs}
        self.columns = nnx.List(
            [
                nnx.List([FractalConv(cout if place else cin, cout, **options) for place in range(2**column)])
                for column in range(columns)
            ]
        )
        self.joins = nnx.List([Join(drop_path, rngs=rngs) for _ in range(2 ** (columns - 1) // 2)])

    def __call__(self, x: Float[Array, "n h w cin"], chosen: Chosen | None = None) -> Float[Array, "n h w cout"]:
        """What the last row puts out."""
        deepest = self.columns[-1]
        reads = [x] * len(self.columns)
        for row in range(1, len(deepest) + 1):
            spans = [len(deepest) // len(column) for column in self.columns]
            first = next(place for place, span in enumerate(spans) if row % span == 0)
            branches = [self.columns[k][row // spans[k] - 1](reads[k]) for k in range(first, len(spans))]
            x = branches[0] if len(branches) == 1 else self.joins[row // 2 - 1](branches, chosen)
            reads[first:] = [x] * len(branches)
        return x

    def single(self, x: Float[Array, "n h w cin"], column: int) -> Float[Array, "n h w cout"]:
        """One column alone."""
        for layer in self.columns[column]:
            x = layer(x)
        return x
