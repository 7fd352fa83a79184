"""The parts of ``experiments/bench_training.py``: the same training in JAX and PyTorch."""
