"""Residual networks for images of 32x32: ResNet-20, 32, 44, 56 and 110."""

from collections.abc import Sequence

from jax231.core.checks import require
from jax231.models.images import require_image
from jax231.models.resnet import ResNet
from jax231.nn.bridge import Constructor
from jax231.nn.residual import BasicBlock


def resnet_cifar(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 20,
    stages: Sequence[int] | None = None,
    width: int = 16,
    residual: bool = True,
    shortcut: str = "padding",
    preactivation: bool = False,
    zero_init: bool = False,
    stochastic_depth: float = 0.0,
    remat: bool = False,
) -> Constructor:
    """The 6 n + 2 layers of section 4.2: a 3x3 convolution, three stages of n blocks with 16, 32, 64 channels.

    Shortcuts have no parameters ("padding", option A; "projection" is option B), and without `residual` there are none.
    Other options as in `resnet`.

    Raises:  ValueError for a depth other than 6 n + 2 and for shapes other than (h, w, c).
    Source:  He et al. 2015 (arXiv:1512.03385), section 4.2.
    """
    require_image("resnet_cifar", shape)
    require(depth >= 8 and depth % 6 == 2, "resnet_cifar", "a depth of 6 n + 2", depth=depth)
    return lambda rngs: ResNet(
        BasicBlock,
        (depth // 6,) * 3 if stages is None else stages,
        width,
        classes,
        channels=shape[2],
        large_images=False,
        preactivation=preactivation,
        shortcut=shortcut if residual else "none",
        zero_init=zero_init,
        stochastic_depth=stochastic_depth,
        remat=remat,
        rngs=rngs,
    )
