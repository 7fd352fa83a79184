"""Checkpoints: which are kept, and what is done about damaged ones, those of other models, and a full disk."""

import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jax231.train.checkpoint import CheckpointError, Checkpoints, checksum
from tests import runs


def state(x: float):
    return {"x": jnp.full(2000, x), "y": {"kernel": jnp.full((2, 3), x)}, "none": None, "key": jax.random.key(3)}


def save(folder, scores, say=lambda text: None):
    with Checkpoints(folder, say) as checkpoints:
        for step, score in enumerate(scores):
            checkpoints.save(step, state(step), score)
        checkpoints.wait()
        return [kept.step for kept in checkpoints.kept()]


def test_only_the_newest_and_the_best_are_kept(tmp_path):
    assert save(tmp_path / "c", (0.1, 0.9, 0.2, None, 0.3)) == [1, 3, 4]
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.best(state(0))["x"][0] == 1
        newest = checkpoints.newest(jax.eval_shape(lambda: state(0)))
    assert checksum(newest) == checksum(state(4))
    assert newest["none"] is None
    assert checksum(newest) != checksum(state(3))


def test_nothing_is_there_yet(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.newest(state(0)) is None
        assert checkpoints.best(state(0)) is None


def test_a_reader_leaves_alone_what_another_process_is_writing(tmp_path):
    save(tmp_path / "c", (None,))
    half = tmp_path / "c" / "1.orbax-checkpoint-tmp"
    half.mkdir()
    with Checkpoints(tmp_path / "c", writes=False) as checkpoints:
        assert checkpoints.newest(state(0))["x"][0] == 0
    assert half.exists()
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert not half.exists()
        assert [kept.step for kept in checkpoints.kept()] == [0]


def test_nothing_is_left_to_a_thread_where_an_error_ends_the_program(tmp_path):
    """With and without something to clear away."""
    lines = (
        "import sys",
        "from pathlib import Path",
        "from jax231.train.checkpoint import Checkpoints",
        "(Path(sys.argv[1]) / '3.orbax-checkpoint-tmp').mkdir(parents=True)",
        "for name in (sys.argv[1], sys.argv[1] + '-new'):",
        "    try:",
        "        with Checkpoints(Path(name)):",
        "            raise ValueError('wrong')",
        "    except ValueError:",
        "        pass",
    )
    command = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax, whose read failed
@pytest.mark.parametrize("kind", ["turned", "cut", "gone"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path, kind):
    """Whichever of its files it is."""
    save(tmp_path / "c", (None, None))
    files = [path for path in (tmp_path / "c" / "1").rglob("*") if path.is_file()]
    arrays = [path for path in files if path.parent.name == "d"]
    for path in arrays:
        content, said = path.read_bytes(), []
        if kind == "turned":
            runs.turn(path)
        elif kind == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            path.unlink()
        with Checkpoints(tmp_path / "c", said.append) as checkpoints:
            found = checkpoints.newest(state(0))
        path.write_bytes(content)
        if said:  # what a turned byte says may not matter
            assert "The checkpoint of step 1 is damaged" in said[0]
        assert checksum(found) == checksum(state(0 if said else 1))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax, whose read failed
def test_steps_that_are_done_again_take_the_place_of_a_damaged_one(tmp_path):
    """Also where it counted as the best, and where the first one to be written lies before it."""
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(5, state(5), 0.1)
        checkpoints.save(9, state(9), 0.9)
    runs.damage(tmp_path / "c" / "9")
    said = []
    with Checkpoints(tmp_path / "c", said.append) as checkpoints:
        assert checkpoints.newest(state(0))["x"][0] == 5
        checkpoints.save(7, state(7), 0.2)
        checkpoints.save(9, state(9), 0.9)
        assert checkpoints.wait()
        assert len(said) == 1
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert [kept.step for kept in checkpoints.kept()] == [7, 9]
        assert checksum(checkpoints.newest(state(0))) == checksum(state(9))


def test_none_can_be_read(tmp_path):
    save(tmp_path / "c", (None,))
    runs.damage(tmp_path / "c" / "0")
    with Checkpoints(tmp_path / "c") as checkpoints, pytest.raises(CheckpointError, match="can be read; got none"):
        checkpoints.newest(state(0))


def test_that_of_another_model(tmp_path):
    save(tmp_path / "c", (None,))
    other = {"x": jnp.zeros(2000), "y": {"kernel": jnp.zeros((2, 4)), "bias": jnp.zeros(4)}, "key": jax.random.key(0)}
    said = r"0: expected a checkpoint of this model.*; got missing: y/bias; of another shape: y/kernel \(2, 3\) instead"
    with Checkpoints(tmp_path / "c") as checkpoints, pytest.raises(CheckpointError, match=said):
        checkpoints.newest(other)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax, whose write failed
def test_a_full_disk_is_said_and_the_run_goes_on(tmp_path):
    save(tmp_path / "c", (None,))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = []
    with Checkpoints(tmp_path / "c", said.append) as checkpoints:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
            checkpoints.save(1, state(1))
            assert not checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "The checkpoint of step 1 could not be written" in said[0]
        assert "the newest is that of step 0" in said[0]
        checkpoints.save(1, state(1))
        assert checkpoints.wait()
        assert checksum(checkpoints.newest(state(0))) == checksum(state(1))
