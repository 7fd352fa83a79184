"""One optimizer a file, first and second order, behind Optax's one call."""
