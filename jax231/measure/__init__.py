"""Timing and statistics of runs."""
