"""Derivatives of functions of a pytree: checks of gradients, products with curvature matrices."""
