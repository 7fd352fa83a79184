"""Pooling layers."""

from jaxtyping import Array, Float, Int

from jax231.core.checks import require_rank
from jax231.functional import pool
from jax231.functional.shapes import Padding, Pair, image_padding, image_pair
from jax231.nn.layer import Layer


class _Pool(Layer):
    """A window, its stride, and the padding; with `ceil` a last window may hang over the right and lower edge.

    Raises:  ValueError for a window or stride below 1; in a call as the functions.
    """

    def __init__(self, window: Pair, *, stride: Pair | None = None, padding: Padding = 0, ceil: bool = False):
        self.window = image_pair(window, "window", where=type(self).__name__)
        self.stride = image_pair(window if stride is None else stride, "stride", where=type(self).__name__)
        self.padding, self.ceil = padding, ceil

    def ends(self, x: Array) -> tuple[tuple[int, int], tuple[int, int]]:
        """The padding of the images `x`, and what a last window needs where sizes are rounded up."""
        where, size = type(self).__name__, x.shape[1:3]
        require_rank(where, 4, "n h w c", x=x)
        ends = image_padding(size, self.window, self.stride, self.padding, where=where)
        if not self.ceil:
            return ends
        rows, columns = [_rounded_up(*axis) for axis in zip(size, self.window, self.stride, ends, strict=True)]
        return rows, columns


def _rounded_up(size: int, window: int, stride: int, ends: tuple[int, int]) -> tuple[int, int]:
    """`ends` with room for one window more where a rest is left over, if that starts before the image ends."""
    low, high = ends
    rest = (size + low + high - window) % stride
    more = stride - rest
    starts_inside = high + more < window  # it ends `high + more` pixels behind the image
    return low, high + more if rest and starts_inside else high


class MaxPool(_Pool):
    """`pool.max_pool`."""

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n oh ow c"]:
        """The largest entry under each window."""
        return pool.max_pool(self.cast(x), self.window, stride=self.stride, padding=self.ends(x))


class MaxPoolWithSwitches(_Pool):
    """`pool.max_pool_with_switches`, for the unpooling of a decoder."""

    def __call__(self, x: Float[Array, "n h w c"]) -> tuple[Float[Array, "n oh ow c"], Int[Array, "n oh ow c"]]:
        """The largest entry under each window, and where it was."""
        return pool.max_pool_with_switches(self.cast(x), self.window, stride=self.stride, padding=self.ends(x))


class AvgPool(_Pool):
    """`pool.avg_pool`."""

    def __init__(self, window: Pair, *, count_padding: bool = False, **options):
        super().__init__(window, **options)
        self.count_padding = count_padding

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n oh ow c"]:
        """The mean under each window."""
        return pool.avg_pool(
            self.cast(x), self.window, stride=self.stride, padding=self.ends(x), count_padding=self.count_padding
        )


class AdaptiveAvgPool(Layer):
    """`pool.adaptive_avg_pool`."""

    def __init__(self, size: Pair):
        self.size = image_pair(size, "size", where="AdaptiveAvgPool")

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n oh ow c"]:
        """The means of the windows that share out the image."""
        return pool.adaptive_avg_pool(self.cast(x), self.size)


class GlobalAvgPool(Layer):
    """`pool.global_avg_pool`."""

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
        """The mean over all pixels."""
        return pool.global_avg_pool(self.cast(x))


class MaxUnpool(Layer):
    """`pool.max_unpool`."""

    def __call__(
        self, y: Float[Array, "n oh ow c"], switches: Int[Array, "n oh ow c"], shape: tuple[int, ...]
    ) -> Float[Array, "n h w c"]:
        """Each entry at the pixel that its switch names."""
        return pool.max_unpool(self.cast(y), switches, shape)
