"""DenseNet for images of 32x32: DenseNet-BC-100-12 and others of its kind."""

from collections.abc import Sequence

from jax231.core.checks import require
from jax231.models.densenet import DenseNet
from jax231.models.images import require_image
from jax231.nn.bridge import Constructor


def densenet_cifar(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 100,
    blocks: Sequence[int] | None = None,
    growth: int = 12,
    dropout: float = 0.0,
    remat: bool = False,
) -> Constructor:
    """A 3x3 convolution to ``2 * growth`` maps and three blocks of (depth - 4) / 6 bottleneck layers each.

    The paper has `dropout` of 0.2 where data are not augmented. Other options as in `densenet`.

    Raises:  ValueError for a depth other than 6 n + 4, and for images that are too small to be halved between blocks.
    Source:  Huang et al. 2017 (arXiv:1608.06993), section 3, "implementation details".
    """
    require(depth >= 10 and depth % 6 == 4, "densenet_cifar", "a depth of 6 n + 4", depth=depth)
    blocks = (depth // 6,) * 3 if blocks is None else blocks
    require_image("densenet_cifar", shape, 2 ** (len(blocks) - 1))
    options = {"channels": shape[2], "large_images": False, "dropout": dropout, "remat": remat}
    return lambda rngs: DenseNet(blocks, growth, 2 * growth, classes, **options, rngs=rngs)
