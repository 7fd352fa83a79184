"""The parts of ``experiments/bench_kernels.py``: cases, the sides that compute them, and turns between their processes.

What a side computes is known from `cases`, `layers` and `operands`, which import NumPy alone, so that a side's process
loads its own framework and no other.
"""
