"""``python -m jax231`` is the command ``jax231``."""

from jax231.cli import main

main()
