"""The places under a sliding window, as slices: what is summed or compared over them differentiates and loops well."""

from jax import Array, lax


def shifted(x: Array, axis: int, window: int, stride: int = 1, dilation: int = 1) -> list[Array]:
    """Slice number j holds, for every window position along `axis`, the entry at place j of the window.

    Windows that tile the axis are cut out of a reshaped array: its slices and their transposes run twice as fast on the
    CPU as strided ones.
    """
    if stride == window and dilation == 1 and x.shape[axis] % window == 0:
        tiles = x.reshape(*x.shape[:axis], x.shape[axis] // window, window, *x.shape[axis + 1 :])
        return [lax.index_in_dim(tiles, j, axis + 1, keepdims=False) for j in range(window)]
    span = (window - 1) * dilation + 1
    last = (x.shape[axis] - span) // stride * stride
    return [lax.slice_in_dim(x, j, j + last + 1, stride, axis) for j in range(0, span, dilation)]
