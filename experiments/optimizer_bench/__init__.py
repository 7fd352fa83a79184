"""The parts of ``experiments/bench_optimizers.py``: the problems, who minimises them, and what is counted."""
