"""The restricted unpickler: it reads what CIFAR is made of and runs nothing."""

import collections
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from jax231.data import pickles
from jax231.data.errors import DataError

PATH = Path("somewhere/data_batch_1")
VALUE = {
    b"data": np.arange(12, dtype=np.uint8).reshape(3, 4),
    b"labels": [1, 2, 300, -4],
    b"names": [b"cat", "dog"],
    b"rest": (1.5, None, True, 2**70, {"deep": [np.arange(3.0), np.asfortranarray(np.eye(2, 3, dtype=">i4"))]}),
}


def equal(a, b):
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, strict=True)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b)
        for x, y in zip(a, b, strict=True):
            equal(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("protocol", [1, 2, 3, 4])
def test_what_is_written_is_read(protocol):
    equal(pickles.load(PATH, pickle.dumps(VALUE, protocol)), VALUE)


class Runs:
    """Pickles to a call of whatever it was given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Runs(os.mkdir, "{folder}"), f"{os.mkdir.__module__}.mkdir"),
        (Runs(eval, "__import__('os').mkdir('{folder}')"), "builtins.eval"),
        (Runs(np.load, "{folder}"), "numpy.load"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (np.array([{}]), "numpy.dtype('O8')"),
        (np.zeros(2, "U3"), "numpy.dtype('U3')"),
        (np.zeros(2, "c16"), "numpy.dtype('c16')"),
        (np.float32(1), "numpy._core.multiarray.scalar"),
        (len, "builtins.len"),
    ],
)
def test_everything_else_is_refused_by_name_and_not_run(value, name, tmp_path):
    target = tmp_path / "made"
    if isinstance(value, Runs):
        function, arguments = value.call
        value = Runs(function, *(argument.format(folder=target) for argument in arguments))
    with pytest.raises(DataError, match=r"somewhere/data_batch_1: expected a pickle of arrays, .* only") as caught:
        pickles.load(PATH, pickle.dumps({b"data": value}, 4))
    assert name in caught.value.found
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pickle.dumps({1, 2}, 4), "a value of type set"),
        (b"cnumpy\nndarray\n.", "a value of type type"),
        (b"c_codecs\nencode\n.", "a value of type type"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "_codecs.encode to 'rot13'"),
        (b"Ppid\n.", "a persistent object 'pid'"),
    ],
)
def test_what_is_allowed_in_part_is_no_way_out(content, found):
    with pytest.raises(DataError, match="arrays, bytes, lists, dicts and numbers only") as caught:
        pickles.load(PATH, content)
    assert caught.value.found == found


@pytest.mark.parametrize("name", pickles.ALLOWED)
def test_a_pickle_cannot_change_the_stand_ins(name):
    module, _, function = name.rpartition(".")
    before = dict(vars(pickles.ALLOWED[name]))
    for state in (b"}(X\x01\x00\x00\x00aK\x01u", b"N}(X\x01\x00\x00\x00aK\x01u\x86"):
        with pytest.raises(DataError, match="data_batch_1: expected"):
            pickles.load(PATH, b"\x80\x02c" + f"{module}\n{function}\n".encode() + state + b"b.")
    assert vars(pickles.ALLOWED[name]) == before


def test_damaged_pickles_are_read_or_refused_and_never_raise_anything_else():
    whole = pickle.dumps(VALUE, 2)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(256)
        try:
            pickles.load(PATH, bytes(damaged))
        except DataError:
            refused += 1
    assert refused > 500


def test_one_damaged_number_does_not_ask_for_gigabytes():
    with pytest.raises(DataError, match=r"a whole pickle; .*value number 4294967040 at byte 3"):
        pickles.load(PATH, b"\x80\x02]r\x00\xff\xff\xff.")


def test_damage_is_an_error_with_the_file():
    whole = pickle.dumps(VALUE, 2)
    for cut in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(DataError, match=f"data_batch_1: expected a whole pickle; found {cut} bytes"):
            pickles.load(PATH, whole[:cut])
    with pytest.raises(DataError, match="one pickle and nothing after it; found 3 more bytes"):
        pickles.load(PATH, whole + b"abc")


def test_an_array_whose_bytes_do_not_fit_its_shape():
    whole = pickle.dumps(np.arange(3, dtype=np.uint8), 3)
    lie = whole.replace(b"K\x03\x85", b"K\x04\x85")
    assert lie != whole
    with pytest.raises(DataError, match=r"an array \(4,\) of uint8 with 3 bytes"):
        pickles.load(PATH, lie)


def test_the_form_of_python_2():
    text = b"U\x03cat"
    number = b"J" + struct.pack("<i", -5)
    assert pickles.load(PATH, b"\x80\x02}(" + text + number + b"u.") == {b"cat": -5}
