"""Real data: files of the official distributions, splits, preprocessing.

`sources` is the front door: `sources.load("mnist")`, `sources.digits()`, `sources.load_text("tiny_shakespeare")`.
"""

from jax231.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=(
        "batches", "catalog", "check", "cifar", "dataset", "decode", "digits", "errors", "fetch", "folders", "idx",
        "locate", "pickles", "preprocess", "sources", "splits", "stream", "text", "text_batches", "views",
    ),
)  # fmt: skip
