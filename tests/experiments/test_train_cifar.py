"""The whole training script on digits: three steps, and once more from where they ended."""

import jax
import numpy as np
import train_cifar


def test_three_steps_and_a_checkpoint(tmp_path, capsys):
    config = train_cifar.Config(
        depth=8, width=4, epochs=1, batch=8, examples=24, data_dir=tmp_path / "nothing", folder=tmp_path / "run"
    )
    result = train_cifar.main(config)
    assert result.losses.shape == (3,)
    assert np.isfinite(result.losses).all()
    said = capsys.readouterr().out
    assert "Training on digits instead." in said
    assert "epoch 1/1: loss" in said
    again = train_cifar.main(config)
    assert len(again.losses) == 0
    assert again.accuracy == result.accuracy
    jax.tree.map(np.testing.assert_array_equal, again.state, result.state)
