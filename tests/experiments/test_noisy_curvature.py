"""The experiment on a few examples: what it writes; how good the methods are is never tested here."""

import json
import math

import pytest

pytest.importorskip("matplotlib")
import noisy_curvature


def test_it_writes_a_curve_for_each_method_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(noisy_curvature, "METHODS", ("sgd", "lbfgs"))
    config = noisy_curvature.Config(batches=(20,), budget=2.0, settings=2, seeds=1, examples=60, folder=tmp_path)
    curves = noisy_curvature.main(config)
    best = [curve for curve in curves if curve.best]
    assert [curve.method for curve in best] == ["sgd", "lbfgs"]
    assert all(0 < curve.excess[-1] < curve.excess[0] for curve in best)
    assert best[0].excess[0] == pytest.approx(math.log(10), rel=0.01), (
        "small random weights at the start, above a tiny minimum"
    )
    stored = json.loads((tmp_path / "noisy-curvature.json").read_text())
    assert [curve["method"] for curve in stored["curves"]] == [curve.method for curve in curves]
    assert (tmp_path / "noisy-curvature.png").stat().st_size > 10_000
