"""Which settings to run."""
