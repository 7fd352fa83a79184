"""The course as pure functions of arrays."""

from jax231.functional.activations import (
    elu,
    leaky_relu,
    log_softmax,
    maxout,
    prelu,
    relu,
    sigmoid,
    softmax,
    tanh,
)
from jax231.functional.conv import conv1d, conv2d, conv2d_transpose
from jax231.functional.first_max import first_max
from jax231.functional.linear import affine, append_ones
from jax231.functional.pool import (
    avg_pool,
    bed_of_nails_unpool,
    bilinear_upsample,
    global_avg_pool,
    max_pool,
    max_pool_with_switches,
    max_unpool,
    nearest_unpool,
)
from jax231.functional.shapes import ReceptiveField, conv_output_size, conv_transpose_output_size, receptive_field

__all__ = [
    "ReceptiveField",
    "affine",
    "append_ones",
    "avg_pool",
    "bed_of_nails_unpool",
    "bilinear_upsample",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv_output_size",
    "conv_transpose_output_size",
    "elu",
    "first_max",
    "global_avg_pool",
    "leaky_relu",
    "log_softmax",
    "max_pool",
    "max_pool_with_switches",
    "max_unpool",
    "maxout",
    "nearest_unpool",
    "prelu",
    "receptive_field",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
