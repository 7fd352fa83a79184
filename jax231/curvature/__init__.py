"""Derivatives of functions of a pytree: gradients checked, products with curvature matrices, what follows from them."""

from jax231.curvature.batches import over_batches
from jax231.curvature.density import Density, Quadrature, density, lanczos_quadrature, spectral_mean
from jax231.curvature.diagonal import diagonal, ggn_diagonal, hutchinson_diagonal
from jax231.curvature.estimate import Estimate
from jax231.curvature.filters import filter_lengths, filter_normalized
from jax231.curvature.fisher import (
    empirical_fisher_vp,
    fisher_vp,
    linearized_empirical_fisher_vp,
    linearized_fisher_vp,
)
from jax231.curvature.gradcheck import GradientReport, check_gradient, gradcheck
from jax231.curvature.jacobian import jvp, vjp
from jax231.curvature.lanczos import Condition, Eigenpairs, condition_number, eigenpairs, lanczos
from jax231.curvature.noise import NoiseScale, noise_scale, noise_scale_from_squares
from jax231.curvature.per_example import per_example_gradients
from jax231.curvature.products import dense, ggn, ggnvp, hessian, hvp, linearized_ggnvp, linearized_hvp
from jax231.curvature.sharpness import Sharpness, filter_scaled, sharpness
from jax231.curvature.slices import loss_line, loss_plane, random_direction
from jax231.curvature.trace import hutch_plus_plus, hutchinson_trace

__all__ = [
    "Condition",
    "Density",
    "Eigenpairs",
    "Estimate",
    "GradientReport",
    "NoiseScale",
    "Quadrature",
    "Sharpness",
    "check_gradient",
    "condition_number",
    "dense",
    "density",
    "diagonal",
    "eigenpairs",
    "empirical_fisher_vp",
    "filter_lengths",
    "filter_normalized",
    "filter_scaled",
    "fisher_vp",
    "ggn",
    "ggn_diagonal",
    "ggnvp",
    "gradcheck",
    "hessian",
    "hutch_plus_plus",
    "hutchinson_diagonal",
    "hutchinson_trace",
    "hvp",
    "jvp",
    "lanczos",
    "lanczos_quadrature",
    "linearized_empirical_fisher_vp",
    "linearized_fisher_vp",
    "linearized_ggnvp",
    "linearized_hvp",
    "loss_line",
    "loss_plane",
    "noise_scale",
    "noise_scale_from_squares",
    "over_batches",
    "per_example_gradients",
    "random_direction",
    "sharpness",
    "spectral_mean",
    "vjp",
]
