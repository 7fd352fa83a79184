"""Training by two processes: as one trains alone, one checkpoint, and a clear end where one is lost."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import chex
import pytest

from jax231.train import log, processes
from jax231.train.loop import train
from jax231.train.run import open_run
from tests import runs

CONFIG = runs.config(
    model="pattern_batch_norm", arguments={"n": 1, "m": 1, "channels": 4, "units": 8}, epochs=2, rate=0.05
)
SECONDS = 240
"""How long the two processes may take on a busy machine."""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What the two said and how they ended, and the folder of their runs."""
    folder = tmp_path_factory.mktemp("runs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).with_name("one_of_two_processes.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parents[2]), *sys.path])}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), coordinator, str(index), str(folder)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
    return folder, said, [process.returncode for process in started]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(CONFIG, tmp_path_factory.mktemp("alone") / "run", splits=runs.images(), chunk=5)


def test_two_processes_train_as_one_does(two, alone):
    folder, said, _ = two
    run = open_run(folder / "whole", "newest")
    chex.assert_trees_all_close(run.params, alone.train.params, rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_close(run.state, alone.train.state, rtol=1e-3, atol=1e-5)
    assert all(f"test accuracy {alone.test.accuracy}" in out for out, _ in said), said
    assert [record["epoch"] for record in log.read(folder / "whole")] == [1, 2]


def test_a_single_process_goes_on_from_their_checkpoint(two, alone):
    folder, _, _ = two
    path = folder / "whole" / "config.toml"
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3"))
    result = train(replace(CONFIG, epochs=3), folder / "whole", resume=True, splits=runs.images(), chunk=5)
    assert int(result.train.step) == 15
    assert [record["epoch"] for record in log.read(folder / "whole")] == [1, 2, 3]


def test_the_loss_of_a_process_ends_the_others(two):
    folder, said, codes = two
    assert codes == [3, 9], said
    assert "train: expected 2 processes to the end; got a lost one" in said[0][0]
    assert f"Start all of them again with: jax231 train --resume {folder / 'lost'}" in said[0][0]


def test_numbers_that_do_not_fit():
    with pytest.raises(ValueError, match=r"a number of the process within \[0, 2\); got process=2"):
        processes.join("127.0.0.1:1", 2, 2)
    with pytest.raises(ValueError, match="a coordinator HOST:PORT; got coordinator='here'"):
        processes.join("here", 2, 0)
