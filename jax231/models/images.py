"""What an architecture asks of its images."""

from jax231.core.checks import require


def require_image(where: str, shape: tuple[int, ...], least: int = 1) -> None:
    """`shape` is (h, w, c) with at least `least` pixels a side and one channel.

    Raises: ValueError which names the architecture.
    """
    require(len(shape) == 3, where, "images (h, w, c)", shape=shape)
    require(shape[2] >= 1, where, "images of at least one channel", shape=shape)
    require(min(shape[:2]) >= least, where, f"images of at least {least}x{least}", shape=shape)
