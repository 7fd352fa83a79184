"""The picture of the activations: derivatives as in a table of derivatives, and a file."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
import activations


def test_derivatives_are_those_of_the_definitions(tmp_path):
    x = np.array([-3.0, -0.5, 0.5, 3.0], np.float32)
    wide = x.astype(np.float64)
    s, t = 1 / (1 + np.exp(-wide)), np.tanh(wide)
    known = {
        "sigmoid": s * (1 - s),
        "tanh": 1 - t**2,
        "ReLU": np.where(x > 0, 1, 0),
        "leaky ReLU, slope 0.1": np.where(x > 0, 1, 0.1),
        "ELU": np.where(x > 0, 1, np.exp(wide)),
        "maxout of 3 lines": np.array([-1, 0.2, 0.2, 1]),
    }
    assert list(known) == list(activations.FUNCTIONS)
    for name, (function, _) in activations.FUNCTIONS.items():
        np.testing.assert_allclose(activations.curves(function, x)[1], known[name], rtol=1e-5, atol=2e-7)
    assert activations.main(activations.Config(points=21, folder=tmp_path)).stat().st_size > 10_000
