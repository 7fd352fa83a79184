"""Training spread over devices; `test_devices.py` runs this file in a process with eight devices of the host."""

import chex
import jax
import pytest

from jax231.train import devices
from jax231.train.loop import train
from tests import runs

CONFIG = runs.config(
    model="pattern_batch_norm", arguments={"n": 1, "m": 1, "channels": 4, "units": 8}, epochs=2, rate=0.05
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    assert jax.device_count() == 8
    return train(CONFIG, tmp_path_factory.mktemp("alone") / "run", splits=runs.images(), chunk=5)


def test_eight_devices_train_as_one_does(alone, tmp_path):
    several = train(CONFIG, tmp_path / "run", splits=runs.images(), devices=0, chunk=5)
    assert several.train.params["classifier"]["scores"]["kernel"].sharding.num_devices == 8
    chex.assert_trees_all_close(several.train.params, alone.train.params, rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_close(several.train.losses, alone.train.losses, rtol=1e-4)
    assert several.test.accuracy == alone.test.accuracy


def test_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"a number of devices within \[1, 8\]; got devices=9"):
        devices.mesh(9)
    with pytest.raises(ValueError, match="a multiple of the 3 devices; got batch=8"):
        train(CONFIG, tmp_path / "run", splits=runs.images(), devices=3, chunk=5)
    assert not (tmp_path / "run").exists()
