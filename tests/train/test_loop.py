"""Whole runs: resumed bit for bit, stopped, damaged, refused."""

import resource
import shutil
import signal
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jax231.train import folder as folders
from jax231.train import log, loop
from jax231.train.checkpoint import CheckpointError
from jax231.train.evaluate import Scores
from jax231.train.failure import DivergedError
from jax231.train.interrupt import Interrupted
from jax231.train.judge import Judge
from jax231.train.processes import LostError
from jax231.train.run import open_run
from tests import runs
from tests.compilations import kept_in

CONFIG = runs.config(
    model="mlp_batch_norm", arguments={"widths": [6]}, dropout=0.3, decay=1e-3, ema=0.9, schedule="cosine", clip=5.0,
)  # fmt: skip


class Told(loop.Silent):
    """Remembers what it was told, and calls back after so many chunks."""

    def __init__(self, after: int = 0, then=None):
        self.notes, self.chunks, self._after, self._then = [], 0, after, then

    def note(self, text):
        self.notes.append(text)

    def chunk(self, record):
        self.chunks += 1
        if self.chunks == self._after:
            self._then()


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


def train(folder, config=CONFIG, watcher=None, **options):
    options = {"splits": runs.images(), "chunk": 2, "save_seconds": 0.0, **options}
    return loop.train(config, folder, watcher=watcher, **options)


def without_times(folder):
    timed = ("seconds", "examples_per_second")
    kinds = [record for kind in ("epoch", "test") for record in log.read(folder, kind)]
    return [{name: x for name, x in record.items() if name not in timed} for record in kinds]


def assert_same_bits(a, b):
    chex.assert_trees_all_equal(jax.random.key_data(a.key), jax.random.key_data(b.key))
    chex.assert_trees_all_equal(a._replace(key=None), b._replace(key=None))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, train(folder)


def interrupt():
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, compiled_once):
    """A run that was stopped in the middle of its second epoch, saved at steps 5 and 7 (and the best)."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.raises(Interrupted, match=r"after step 7, which is saved\. Go on with: jax231 train --resume"):
        train(folder, watcher=Told(4, interrupt))
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def test_a_resumed_run_has_the_bits_of_an_undisturbed_one(undisturbed, stopped):
    result = train(stopped, resume=True, chunk=3)
    assert_same_bits(result.train, undisturbed[1].train)
    assert result.test == undisturbed[1].test
    assert without_times(stopped) == without_times(undisturbed[0])


def test_a_finished_run_has_nothing_left_to_do(undisturbed):
    folder, result = undisturbed
    told = Told()
    assert_same_bits(train(folder, resume=True, watcher=told).train, result.train)
    assert told.chunks == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax, whose read failed
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(undisturbed, stopped):
    runs.damage(stopped / "checkpoints" / "7")
    path = stopped / "environment.json"
    path.write_text(path.read_text().replace('"jax": "', '"jax": "9.'))
    told = Told()
    result = train(stopped, resume=True, watcher=told)
    assert any("The checkpoint of step 7 is damaged" in note for note in told.notes)
    assert any("not bit for bit" in note and "versions.jax 9." in note for note in told.notes)
    assert_same_bits(result.train, undisturbed[1].train)


def test_a_checkpoint_of_another_model(stopped):
    (stopped / "config.toml").write_text((stopped / "config.toml").read_text().replace("6,", "7,"))
    other = folders.read_config(stopped)
    with pytest.raises(CheckpointError, match=r"of this model and optimizer; got .*hidden.* instead of \(16, 7\)"):
        train(stopped, other, resume=True)


def test_another_configuration(stopped):
    with pytest.raises(folders.FolderError, match=r"got rate 0\.1 -> 0\.2\. .* by --from .*/run and a new --n"):
        train(stopped, runs.config(**{**vars(CONFIG), "rate": 0.2}), resume=True)


def test_classes_that_do_not_match(stopped):
    with pytest.raises(ValueError, match=r"expected the 3 classes of the run in their order; .*new=\['z'\]"):
        train(stopped, resume=True, splits=runs.images()._replace(classes=("a", "b", "z")))


def test_folders_that_cannot_be_used(stopped, tmp_path):
    with pytest.raises(folders.FolderError, match=r"got one with a run in it\. Go on with it by --resume"):
        train(stopped)
    with pytest.raises(folders.FolderError, match="got no such folder"):
        train(tmp_path / "nothing", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(folders.FolderError, match="got other files"):
        train(tmp_path / "mine")
    with folders.locked(stopped), pytest.raises(folders.FolderError, match="expected no other writer"):
        train(stopped, resume=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax, whose write failed
def test_a_full_disk_is_said_and_a_later_resume_has_the_same_bits(undisturbed, stopped):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = Told()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(CheckpointError, match="expected room for the last checkpoint"):
            train(stopped, resume=True, watcher=told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert any("could not be written" in note for note in told.notes)
    assert_same_bits(train(stopped, resume=True).train, undisturbed[1].train)


def test_devices_that_are_not_there_are_refused_before_there_is_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"devices: expected a number of devices within \[1, \d+\]; got devices=999"):
        train(tmp_path / "run", devices=999)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("source", ["nothing", "finished"])
def test_a_wrong_source_is_refused_before_there_is_a_folder(undisturbed, tmp_path, source):
    folder = undisturbed[0] if source == "finished" else tmp_path / source
    with pytest.raises(ValueError, match=r"expected weights of this model|got no such folder"):
        train(tmp_path / "run", runs.config(initial=str(folder)))
    assert not (tmp_path / "run").exists()


class Refusing(Told):
    """Fails before the first step, as a step that cannot be compiled would."""

    def begin(self, config, **facts):
        raise ValueError("refused late")


def refuse():
    raise ValueError("refused late")


def test_a_run_that_fails_before_it_has_a_record_leaves_nothing_in_the_way(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="refused late"):
        train(folder, watcher=Refusing())
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(ValueError, match="refused late"):
        train(folder, watcher=Refusing())
    assert [path.name for path in folder.iterdir()] == ["lock"]
    with pytest.raises(ValueError, match="refused late"):
        train(folder, watcher=Told(1, refuse))
    assert len(log.read(folder, "chunk")) == 1
    with pytest.raises(ValueError, match="refused late"):
        train(folder, watcher=Refusing(), resume=True)
    assert (folder / "config.toml").exists()


def test_an_interruption_and_a_lost_process_leave_the_run(tmp_path):
    for error in (Interrupted("stop"), LostError("lost")):
        folder = tmp_path / type(error).__name__
        made = folders.prepare(folder, CONFIG)
        with pytest.raises(type(error)), folders.unless_refused(folder, made, (LostError,)):
            raise error
        assert made
        assert (folder / "config.toml").exists()


def test_an_explosion_stops_the_run(tmp_path):
    with pytest.raises(DivergedError, match=r"more than 3 times the .* the rate is too high"):
        train(tmp_path / "run", runs.config(optimizer="momentum", rate=80.0))
    assert len(log.read(tmp_path / "run", "stopped")) == 1


def test_the_layer_that_is_not_finite_first(tmp_path):
    with pytest.raises(DivergedError, match=r"step \d+: "):
        train(tmp_path / "run", runs.config(optimizer="sgd", rate=1e37), chunk=5)


def test_what_a_reader_sees(undisturbed):
    folder, result = undisturbed
    run = open_run(folder, "newest")
    assert (run.step, run.shape, run.classes) == (15, (4, 4, 1), ("a", "b", "c"))
    assert run.config == CONFIG
    mean, _ = result.train.average.mean
    np.testing.assert_allclose(run.params["scores"]["kernel"], mean["scores"]["kernel"], rtol=1e-6)
    records = log.read(folder)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy"} <= set(records[0])
    best = max(records, key=lambda record: (record["validation_accuracy"], record["step"]))
    assert open_run(folder).step == best["step"]


@pytest.fixture
def scripted(monkeypatch):
    """Three epochs of 5 steps, of which the first is the best by the validation split."""
    found = {5: 0.9, 10: 0.2, 15: 0.4}
    monkeypatch.setattr(Judge, "now", lambda judge, train, part: Scores(1.0, found[int(train.step)], 10))


def steps_kept(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def test_the_best_epoch_is_kept_though_no_checkpoint_was_due(scripted, tmp_path):
    result = train(tmp_path / "run", save_seconds=1000.0)
    assert (int(result.train.step), int(result.best.train.step)) == (15, 5)
    assert (result.test.accuracy, result.best.test.accuracy) == (0.4, 0.9)
    assert steps_kept(tmp_path / "run") == [5, 15]
    assert open_run(tmp_path / "run").step == 5
    assert open_run(tmp_path / "run", "newest").step == 15


def test_the_best_epoch_outlives_an_explosion(scripted, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.failure, "explosion", lambda train, last, start: "it" if train.step > 12 else None)
    with pytest.raises(DivergedError, match="training stopped: it"):
        train(tmp_path / "run", save_seconds=1000.0)
    assert steps_kept(tmp_path / "run") == [5]
