"""The gains of ensembles on a small net, through to their table."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

import ensembles


def test_gains_are_measured_and_tabled(tmp_path):
    config = ensembles.Config(repeats=2, members=2, snapshots=2, tested=32)
    base = replace(ensembles.DIGITS, model="two_layer", arguments={"hidden": 8}, epochs=3, examples=128)
    rows = ensembles.measured(base, config, tmp_path)
    kinds = list(dict.fromkeys(row["what"] for row in rows))
    assert kinds == [
        "2 seeds",
        "2 snapshots, over one run without restarts",
        "2 snapshots, over the last of them",
        "average of parameters at a constant rate",
        "views: five_crop",
    ]
    assert [row["repeat"] for row in rows] == [0] * 5 + [1] * 5
    assert all(0 <= row[key] <= 1 for row in rows for key in ("without", "accuracy"))
    for row in rows:
        if row["what"] == "2 seeds":
            assert len(row["growing"]) == 2
            assert row["growing"][-1] == row["accuracy"]
    lines = ensembles.table(rows).splitlines()
    assert len(lines) == 2 + len(kinds)
    gains = [100 * (row["accuracy"] - row["without"]) for row in rows if row["what"] == "2 seeds"]
    assert f"{sum(gains) / 2:+.2f} ({min(gains):+.2f} .. {max(gains):+.2f})" in lines[2]
