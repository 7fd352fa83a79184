"""Fair comparisons of optimizers on the same problems."""
