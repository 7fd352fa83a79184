"""Runs on images that stay in their files: the same batches, bits and scores as from memory, whatever happens."""

import shutil
from pathlib import Path

import chex
import jax
import pytest

from jax231.data.errors import DataError
from jax231.train import case as cases
from jax231.train import folder as folders
from jax231.train import loop, reading, splits
from jax231.train.run import open_run
from tests import photos, runs
from tests.compilations import kept_in


class Told(loop.Silent):
    """Remembers what it was told, and raises after so many chunks."""

    def __init__(self, after: int = 0):
        self.notes, self.chunks, self._after = [], 0, after

    def note(self, text):
        self.notes.append(text)

    def chunk(self, record):
        self.chunks += 1
        if self.chunks == self._after:
            raise KilledError


class KilledError(Exception):
    """Stands for the end of the process: what was saved is all that is left."""


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "photos"
    photos.write(folder / "train", 42)
    photos.write(folder / "val", 9, seed=1)
    photos.write(folder / "test", 10, seed=2, suffix=".jpg")
    return folder


def config(folder, **choices):
    return runs.config(**{"model": "softmax", "data": str(folder), **choices})


def train(folder, config, watcher=None, **options):
    return loop.train(config, folder, watcher=watcher, **{"chunk": 2, "workers": 0, **options})


def assert_same_bits(a, b):
    bits = [x.train._replace(key=jax.random.key_data(x.train.key)) for x in (a, b)]
    chex.assert_trees_all_equal(*bits)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, photographs, compiled_once):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    told = Told()
    return folder, train(folder, config(photographs, augment=("flip",)), told, stream="always"), told


def test_a_stream_trains_as_memory_does(tmp_path, photographs, undisturbed):
    folder, streamed, told = undisturbed
    notes = Told()
    held = train(tmp_path / "held", config(photographs, augment=("flip",)), notes, stream="auto")
    assert "61 images, 0.00628 MB decoded, are read into memory (limit 2 GB)" in notes.notes[0]
    assert "are streamed by 0 workers (as asked); preprocessing fits 42 of the 42 training images" in told.notes[0]
    assert_same_bits(held, streamed)
    assert (held.validation.examples, held.test.examples) == (9, 10)
    chex.assert_trees_all_close(held.test, streamed.test, rtol=1e-6)
    chex.assert_trees_all_close(held.validation, streamed.validation, rtol=1e-6)
    assert folders.read_facts(folder).streamed
    run = open_run(folder, "newest")
    assert run.dataset().streamed
    assert not open_run(tmp_path / "held").dataset().streamed


def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, photographs, undisturbed):
    """In the middle of its second epoch, and then by another number of workers."""
    with pytest.raises(KilledError):
        train(
            tmp_path / "run",
            config(photographs, augment=("flip",)),
            Told(5),
            stream="always",
            workers=2,
            save_seconds=0.0,
        )
    kept = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    assert kept[-1] == 7
    told = Told()
    resumed = train(tmp_path / "run", config(photographs, augment=("flip",)), told, resume=True, chunk=3)
    assert told.chunks == 3
    assert_same_bits(resumed, undisturbed[1])
    assert resumed.test == undisturbed[1].test


def test_random_parts_resume_with_the_same_bits(tmp_path, photographs):
    choices = config(photographs, crop="random", size=4, epochs=1)
    whole = train(tmp_path / "whole", choices)
    assert folders.read_facts(tmp_path / "whole").streamed
    with pytest.raises(KilledError):
        train(tmp_path / "run", choices, Told(2), workers=2, save_seconds=0.0)
    assert_same_bits(train(tmp_path / "run", choices, resume=True, workers=1), whole)


def test_the_choice_is_that_of_the_size_and_stays(monkeypatch, tmp_path, photographs):
    """And files that changed are said."""
    folder = Path(shutil.copytree(photographs, tmp_path / "photos"))
    choices, told = config(folder, epochs=1), Told()
    monkeypatch.setattr(reading, "MOST", 6000)
    train(tmp_path / "run", choices, told)
    assert "are streamed by 0 workers (limit 0.00572 MB)" in told.notes[0]
    monkeypatch.undo()
    photos.write(folder / "test", 10, seed=5)
    train(tmp_path / "run", choices, told, resume=True)
    assert "not bit for bit" in told.notes[1]
    assert "the files of its data changed" in told.notes[1]
    assert "are streamed by 0 workers (as asked)" in told.notes[2]
    with pytest.raises(ValueError, match=r"expected the stream always of the run, or auto; got stream='never'"):
        train(tmp_path / "run", choices, resume=True, stream="never")


@pytest.fixture
def damaged(photographs, tmp_path):
    folder = Path(shutil.copytree(photographs, tmp_path / "photos"))
    for name in ("train/b/004.png", "val/a/003.png", "test/c/002.jpg"):
        photos.damage(folder / name)
    return folder


def test_damaged_images_end_a_run_or_are_skipped(tmp_path, damaged):
    for stream in ("always", "never"):
        with pytest.raises(DataError, match=r"train/b/004\.png: expected an image"):
            train(tmp_path / "refused", config(damaged, epochs=1), stream=stream, workers=2)
    choices, told = config(damaged, epochs=1, corrupt="skip"), Told()
    streamed = train(tmp_path / "streamed", choices, told, stream="always", workers=2)
    listed = (tmp_path / "streamed" / "corrupt.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in listed] == ["test/c/002.jpg", "train/b/004.png", "val/a/003.png"]
    assert told.notes[-1] == f"Damaged images that were skipped: 3, in {tmp_path / 'streamed' / 'corrupt.txt'}"
    assert (streamed.validation.examples, streamed.test.examples) == (8, 9)
    held = train(tmp_path / "held", choices)
    assert_same_bits(held, streamed)
    assert (held.validation.examples, held.test.examples) == (8, 9)


def test_the_doctor_decodes_what_it_looks_at(monkeypatch, photographs):
    held = cases.of_config(config(photographs), 7)
    monkeypatch.setattr(reading, "MOST", 0)
    streamed = cases.of_config(config(photographs), 7)
    chex.assert_trees_all_equal(streamed.pool, held.pool)


def test_what_a_folder_with_a_validation_split_refuses(photographs):
    with pytest.raises(ValueError, match=r"no number of validation examples for .*, which has its own split val"):
        splits.load(config(photographs, validation=5))
    assert splits.load(config(photographs, validation=0)).validation is None
    with pytest.raises(ValueError, match=r"expected the stream auto or always where random parts"):
        splits.load(config(photographs, crop="random", size=4), stream="never")
    with pytest.raises(ValueError, match=r"expected a folder of images to stream; got data='digits'"):
        splits.load(runs.config(data="digits"), stream="always")
    with pytest.raises(ValueError, match="expected a number of workers of at least 0; got workers=-1"):
        splits.load(config(photographs), workers=-1)
    with pytest.raises(ValueError, match="a size to which what is cut out is resized"):
        config(photographs, crop="center")
