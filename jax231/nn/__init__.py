"""Flax NNX modules: parameters plus one or two calls into `jax231.functional`.

``jax231.nn.Conv`` is the class, ``jax231.nn.conv`` its file; they load on first use. `functionalize` makes pure
functions of a model built of them (or of any NNX module). A function with the name of its file is taken from it:
``from jax231.nn.flatten import flatten``.
"""

from jax231.core.lazy import attach

FILES = {
    "affine": ("Affine", "DropConnect"),
    "bridge": ("Constructor", "functionalize", "layer_names", "rate_kinds", "tapped_layers", "watched_apply"),
    "conv": ("Conv", "ConvTranspose"),
    "dense": ("DenseBlock", "DenseLayer", "Transition"),
    "fire": ("Fire",),
    "flatten": (),
    "fractal": ("FractalBlock", "FractalConv", "GlobalPath", "Join"),
    "inception": ("BasicConv", "Inception"),
    "layer": ("Layer", "compute_in", "watching"),
    "maxout": ("Maxout",),
    "noise": ("DropPath", "Dropout", "Noisy", "StochasticDepth"),
    "norm": ("BatchNorm", "GroupNorm", "LayerNorm", "LocalResponseNorm"),
    "pool": ("AdaptiveAvgPool", "AvgPool", "GlobalAvgPool", "MaxPool", "MaxPoolWithSwitches", "MaxUnpool"),
    "prelu": ("PReLU",),
    "recurrent": ("Embedding", "LSTM", "RNN", "Stack"),
    "residual": (
        "BasicBlock", "Bottleneck", "PaddedShortcut", "PreactBasicBlock", "PreactBottleneck", "Projection",
        "ResidualBlock",
    ),
    "sequential": ("Sequential", "rematerialized"),
    "stage": ("ConvRelu", "Stage"),
}  # fmt: skip
"""What each file offers."""

__getattr__, __dir__, __all__ = attach(
    __name__, modules=tuple(FILES), names={name: file for file, names in FILES.items() for name in names}
)
