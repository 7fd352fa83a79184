"""One optimizer a file, first and second order, behind Optax's one call.

A builder has the name of its file and is taken from it, ``from jax231.optim.adam import adam``. `jax231.optim` itself
exports the files only, so that ``jax231.optim.adam`` means the same whatever was imported before.
"""

from jax231.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=[
        "adagrad",
        "adam",
        "catalog",
        "counts",
        "dtypes",
        "family",
        "flat",
        "lbfgs",
        "linesearch",
        "momentum",
        "nesterov",
        "newton",
        "newton_cg",
        "reuse",
        "rmsprop",
        "root",
        "sgd",
    ],
)
