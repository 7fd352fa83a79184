"""One optimizer a file, first and second order, behind Optax's one call.

A builder has the name of its file and is taken from it, ``from jax231.optim.adam import adam``. `jax231.optim` itself
exports the files only, so that ``jax231.optim.adam`` means the same whatever was imported before.
"""

from jax231.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=[
        "accumulate",
        "adagrad",
        "adam",
        "adamw",
        "average",
        "bfgs",
        "by_hand",
        "catalog",
        "clip",
        "counts",
        "decay",
        "dtypes",
        "family",
        "flat",
        "gauss_newton",
        "kfac",
        "lbfgs",
        "lbfgs_overlap",
        "levenberg_marquardt",
        "linesearch",
        "lion",
        "minimise",
        "momentum",
        "muon",
        "nadam",
        "natural_gradient",
        "nesterov",
        "newton",
        "newton_cg",
        "newton_cg_trust",
        "objective",
        "on_subset",
        "paths",
        "reuse",
        "rmsprop",
        "root",
        "schedule_free",
        "schedules",
        "sgd",
        "sr1",
        "stock",
        "stock_table",
        "trust_region",
        "wrapped",
    ],
)
