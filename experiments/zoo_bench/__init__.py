"""The parts of ``experiments/zoo_parity.py`` and ``experiments/bench_zoo.py``: the same networks in JAX and PyTorch."""
