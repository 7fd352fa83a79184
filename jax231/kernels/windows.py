"""The places under a sliding window, as slices: what is summed or compared over them differentiates and loops well."""

from jax import Array, lax


def shifted(x: Array, axis: int, window: int, stride: int = 1, dilation: int = 1) -> list[Array]:
    """Slice number j holds, for every window position along `axis`, the entry at place j of the window."""
    span = (window - 1) * dilation + 1
    last = (x.shape[axis] - span) // stride * stride
    return [lax.slice_in_dim(x, j, j + last + 1, stride, axis) for j in range(0, span, dilation)]
