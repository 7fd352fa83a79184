"""How the windows of a convolution lie over an image."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Static sizes, (height, width) each; padding as ((top, bottom), (left, right)).

    With these, each of image x (n, *size, groups * cin), kernel (*window, cin, cout) and output y (n, *output, cout)
    is given by the other two.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def output(self) -> tuple[int, int]:
        """Number of window positions along height and width."""
        axes = zip(self.size, self.window, self.stride, self.padding, self.dilation, strict=True)
        height, width = [(n + low + high - (w - 1) * d - 1) // s + 1 for n, w, s, (low, high), d in axes]
        return height, width
