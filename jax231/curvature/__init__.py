"""Derivatives of functions of a pytree: checks of gradients, products with curvature matrices."""

from jax231.curvature.gradcheck import GradientReport, check_gradient, gradcheck
from jax231.curvature.products import hessian, hvp, linearized_hvp

__all__ = ["GradientReport", "check_gradient", "gradcheck", "hessian", "hvp", "linearized_hvp"]
