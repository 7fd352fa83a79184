"""FractalNet: depth without residual connections, from columns of every depth that meet again and again."""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Float

from jax231.core.checks import require
from jax231.functional.initializers import gaussian
from jax231.models.images import require_image
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor
from jax231.nn.fractal import FractalBlock, GlobalPath
from jax231.nn.layer import Layer
from jax231.nn.pool import GlobalAvgPool, MaxPool
from jax231.nn.sequential import rematerialized

WIDTHS = (64, 128, 256, 512, 512)
"""The paper's channels for images of 32x32, block by block."""


class FractalNet(Layer):
    """Fractal blocks, each of `columns` columns and followed by 2x2 max pooling; mean of what is left; affine map.

    Training drops paths: every join each of its branches (kind "drop_path"), or, with probability `global_path` (kind
    of that name), the whole net all columns but one; in one draw for the batch, or one an example. Evaluation takes
    the mean of all columns everywhere, or `column` alone, from 0 to the deepest. `dropout` rises from 0 in the first
    block to its rate in the last.

    Shapes:  (n, h, w, c) -> (n, classes).
    Source:  Larsson et al. 2017 (arXiv:1605.07648), figure 1, sections 3.1 and 4.
    """

    def __init__(
        self,
        widths: Sequence[int],
        columns: int,
        classes: int,
        *,
        channels: int = 3,
        drop_path: float = 0.15,
        global_path: float = 0.5,
        per_example: bool = False,
        dropout: float = 0.0,
        column: int | None = None,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        self.per_example, self.column, self.remat = per_example, column, remat
        self.deterministic = False
        self.path = GlobalPath(global_path, columns, rngs=rngs)
        options = {"drop_path": drop_path, "dropout": dropout}
        last = max(len(widths) - 1, 1)
        self.blocks = nnx.List(
            [
                FractalBlock(cin, cout, columns, **options, share=number / last, rngs=rngs)
                for number, (cin, cout) in enumerate(zip((channels, *widths), widths, strict=False))
            ]
        )
        self.pool = MaxPool(2)
        self.mean = GlobalAvgPool()
        self.fc = Affine(widths[-1], classes, kernel_init=gaussian(0.01), rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """The scores."""
        chosen = None if self.deterministic else self.path(len(x) if self.per_example else 1)
        for block in self.blocks:
            if self.deterministic and self.column is not None:
                x = block.single(x, self.column)
            else:
                x = rematerialized(block, x, chosen) if self.remat else block(x, chosen)
            x = self.pool(x)
        return self.fc(self.mean(x))


def fractalnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    widths: Sequence[int] = WIDTHS,
    columns: int = 3,
    drop_path: float = 0.15,
    global_path: float = 0.5,
    per_example: bool = False,
    dropout: float = 0.0,
    column: str | int = "all",
    remat: bool = False,
) -> Constructor:
    """FractalNet with ``len(widths) * 2 ** (columns - 1)`` convolutions along its deepest column.

    The paper draws once a batch, half of the batches globally, and has `dropout` of 0.4 where data are not augmented.
    `column` is what evaluation reads: "all", "deepest", or a number from 1, the shallowest; parameters are the same.
    `remat` forms the inside of blocks again in the backward pass.

    Raises:  ValueError for images that cannot be halved after every block, and for a column that is not there.
    """
    require_image("fractalnet", shape, 2 ** len(widths))
    numbers = {"all": None, "deepest": columns - 1} | {number: number - 1 for number in range(1, columns + 1)}
    require(column in numbers, "fractalnet", f'"all", "deepest", or a column from 1 to {columns}', column=column)
    return lambda rngs: FractalNet(
        widths,
        columns,
        classes,
        channels=shape[2],
        drop_path=drop_path,
        global_path=global_path,
        per_example=per_example,
        dropout=dropout,
        column=numbers[column],
        remat=remat,
        rngs=rngs,
    )
