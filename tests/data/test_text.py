"""Text: codes and characters are inverse to each other, the split keeps the order."""

from pathlib import Path

import numpy as np
import pytest

from jax231.data import sources, text
from jax231.data.dataset import Source
from jax231.data.errors import DataError

SOURCE = Source("a test", "none", "")
CHARACTERS = "to be, or not to be:\nthat is the question; 問題 🎭" * 3


def test_encode_and_decode_are_inverse():
    written = text.from_string("lines", CHARACTERS, SOURCE, {})
    assert written.vocabulary == "".join(sorted(set(CHARACTERS)))
    both = np.concatenate([written.train, written.validation])
    assert both.dtype == np.int32
    assert written.decode(both) == CHARACTERS
    np.testing.assert_array_equal(written.encode(CHARACTERS), both)
    assert len(written.train) == int(0.9 * len(CHARACTERS))


def test_what_the_vocabulary_does_not_have():
    written = text.from_string("lines", "abc", SOURCE, {})
    with pytest.raises(
        ValueError, match=r"Text.encode: expected characters of the vocabulary of lines; got .*\['x', 'z'\]"
    ):
        written.encode("axzx")
    with pytest.raises(ValueError, match=r"Text.decode: expected codes within \[0, 3\); got codes=\[-1, 3\]"):
        written.decode(np.array([3, -1]))
    assert written.decode(np.array([], np.int32)) == ""
    assert written.encode("").shape == (0,)


def test_files_that_are_not_the_text():
    path = Path("somewhere/input.txt")
    assert text.ascii_text(path, b"abc\n", 4) == "abc\n"
    with pytest.raises(DataError, match=r"somewhere/input.txt: expected 5 characters; found 4"):
        text.ascii_text(path, b"abc\n", 5)
    with pytest.raises(DataError, match="expected ascii text; found byte 195 at 1"):
        text.ascii_text(path, "aé".encode(), 3)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(CHARACTERS, encoding="utf-8")
    mine = text.text_file(path)
    assert mine.name == "mine"
    assert mine.decode(mine.train) + mine.decode(mine.validation) == CHARACTERS
    assert list(mine.digests) == ["mine.txt"]
    path.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"mine.txt: expected utf-8 text; found byte 233 at 3"):
        text.text_file(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"mine.txt: expected a text; found an empty file"):
        text.text_file(path)


def test_tiny_shakespeare(data_dir, caplog):
    play = sources.load_text("tiny_shakespeare", data_dir)
    row = next(row for row in sources.listing(data_dir) if row.name == play.name)
    assert (len(play.train), len(play.validation), len(play.vocabulary)) == (row.train, row.test, row.classes)
    assert play.decode(play.train[:14]) == "First Citizen:"
    assert not caplog.records
