"""The data sets that jax231 knows."""

from jax231.data.digits import digits

__all__ = ["digits"]
