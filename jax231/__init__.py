"""jax231: Stanford's CS231n as compiled, functional JAX.

The folders are the table of contents: ``functional`` (layers and losses as pure functions), ``nn`` (the same as Flax
modules), ``models``, ``data``, ``optim``, ``curvature``, ``train``, ``compare``, ``report``. They
load on first use, so ``import jax231`` itself costs nothing.
"""

from jax231.core.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=(
        "cli", "compare", "core", "curvature", "data", "functional", "kernels", "measure", "models", "nn", "optim",
        "report", "search", "train",
    ),
)  # fmt: skip
