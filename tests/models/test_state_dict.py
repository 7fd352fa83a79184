"""Files of weights: read as they were written, and nothing executed."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.models.state_dict import read
from tests.torch_files import Tensor, write_torch


def test_tensors_of_every_type_are_read(tmp_path):
    expected = {
        "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        "wide": np.array([1.5, -2.0]),
        "half": np.array([[0.5]], np.float16),
        "brain": np.array([1.0, 3.0], jnp.bfloat16),
        "steps": np.array(7),
        "mask": np.array([True, False]),
        "bytes": np.array([[1, 255]], np.uint8),
        "empty": np.zeros((0, 3), np.float32),
    }
    path = write_torch(tmp_path / "net.pth", expected)
    seen = read(path)
    assert list(seen) == list(expected)
    for name, array in expected.items():
        assert seen[name].dtype == array.dtype
        chex.assert_trees_all_equal(seen[name], array)


def test_views_of_one_storage(tmp_path):
    storage = np.arange(12, dtype=np.float32)
    views = {
        "whole": Tensor(storage, 0, (3, 4), (4, 1)),
        "transposed": Tensor(storage, 0, (4, 3), (1, 4)),
        "column": Tensor(storage, 2, (3,), (4,)),
        "repeated": Tensor(storage, 5, (2, 2), (0, 0)),
        "scalar": Tensor(storage, 11, (), ()),
    }
    seen = read(write_torch(tmp_path / "views.pt", views))
    grid = storage.reshape(3, 4)
    repeated = np.full((2, 2), 5.0, np.float32)
    expected = {"whole": grid, "transposed": grid.T, "column": grid[:, 2], "repeated": repeated, "scalar": storage[11]}
    chex.assert_trees_all_equal(seen, expected)
    seen["whole"][0, 0] = 100.0
    assert seen["transposed"][0, 0] == 0.0  # copies


def test_safetensors(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    expected = {"a.weight": np.ones((2, 3), np.float32), "b": np.arange(3), "c": np.array(True)}
    numpy_files.save_file(expected, tmp_path / "net.safetensors")
    chex.assert_trees_all_equal(read(tmp_path / "net.safetensors"), expected)


def test_safetensors_of_bfloat16(tmp_path):
    flax_files = pytest.importorskip("safetensors.flax")
    expected = {"w": jnp.array([1.0, -2.5], jnp.bfloat16)}
    flax_files.save_file(expected, tmp_path / "net.safetensors")
    seen = read(tmp_path / "net.safetensors")
    assert seen["w"].dtype == jnp.bfloat16
    chex.assert_trees_all_equal(seen["w"], np.asarray(expected["w"]))


def test_npz(tmp_path):
    expected = {"conv1/weight": np.ones((2, 3)), "n": np.arange(2)}
    np.savez(tmp_path / "net.npz", **expected)
    chex.assert_trees_all_equal(read(tmp_path / "net.npz"), expected)


def test_weights_within_a_checkpoint(tmp_path):
    checkpoint = {"epoch": 3, "state_dict": {"w": np.ones(2, np.float32)}}
    path = write_torch(tmp_path / "run.pth", checkpoint)
    chex.assert_trees_all_equal(read(path, inside="state_dict"), {"w": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match=r"expected tensors by name; got \{epoch: int, state_dict: dict of 1\}; is"):
        read(path)
    with pytest.raises(ValueError, match=r"expected a state dict at 'model'; got \{epoch"):
        read(path, inside="model")


class _Harm:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [(os.system, ("touch harmed",), rf"refused {os.system.__module__}\.system"), (eval, ("1",), r"refused .*\.eval")],
)
def test_code_is_refused_by_name(tmp_path, monkeypatch, function, arguments, name):
    monkeypatch.chdir(tmp_path)
    path = write_torch(tmp_path / "net.pth", {"w": np.ones(2, np.float32), "x": _Harm(function, *arguments)})
    with pytest.raises(ValueError, match=name):
        read(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch\nFloatStorage\n(K\x04tR.",  # a call of what stands for a class
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}(X\x0c\x00\x00\x00__defaults__N tub.",  # attributes of ours
        b"\x80\x02ccollections\nOrderedDict\n}(X\x04\x00\x00\x00keysNu\x86b.",
        b"\x80\x02",
        b"\x80\x02).",
        b"\x80\x02X\xff\xff\xff\x7fa.",
    ],
)
def test_strange_pickles_are_refused(tmp_path, program):
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", program)
    with pytest.raises(ValueError, match=r"net\.pth: expected"):
        read(path)


def test_names_that_the_list_only_begins_with_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    for name in ("collections\nOrderedDict.fromkeys", "torch\nload", "torch._utils\n_rebuild_tensor_v2.__globals__"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", f"\x80\x02c{name}\n.".encode("latin1"))
        with pytest.raises(ValueError, match="refused " + name.replace("\n", r"\.")):
            read(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"), [(0, (13,), (1,)), (9, (2, 2), (2, 2)), (-1, (2,), (1,)), (4, (3,), (-2,))]
)
def test_views_beyond_their_storage_are_refused(tmp_path, offset, shape, strides):
    storage = np.arange(12, dtype=np.float32)
    path = write_torch(tmp_path / "net.pth", {"w": Tensor(storage, offset, shape, strides)})
    with pytest.raises(ValueError, match=r"damaged \(a tensor of shape .* reaches beyond its storage of 12 entries"):
        read(path)


def test_every_truncation_is_named(tmp_path):
    whole = write_torch(tmp_path / "net.pth", {"w": np.ones(300, np.float32)}).read_bytes()
    path = tmp_path / "cut.pth"
    for end in (0, 1, 2, 40, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cut\.pth: expected"):
            read(path)


def test_flipped_bytes_are_named(tmp_path):
    whole = write_torch(tmp_path / "net.pth", {"w": np.ones(300, np.float32)}).read_bytes()
    path = tmp_path / "bad.pth"
    place = whole.index(np.ones(300, np.float32).tobytes())
    path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(ValueError, match=r"bad\.pth: .* truncated or damaged \(Bad CRC-32"):
        read(path)


def test_a_missing_storage_is_named(tmp_path):
    path = tmp_path / "net.pth"
    data = {"w": np.ones(2, np.float32)}
    write_torch(path, data, leave_out=("0",))
    with pytest.raises(ValueError, match="no item named 'net/data/0'"):
        read(path)


def test_the_old_format_is_named(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(pickle.dumps(OrderedDict(w=1), 2))
    with pytest.raises(ValueError, match=r"before version 1\.6: save it again with a current torch"):
        read(path)


@pytest.mark.parametrize(("name", "content"), [("a.safetensors", b"\x10\0\0\0\0\0\0\0{"), ("a.npz", b"PK\3\4abc")])
def test_other_damaged_files(tmp_path, name, content):
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"truncated or damaged .*: copy or download it again"):
        read(tmp_path / name)


def test_objects_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "net.npz", w=np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="refused pickled objects"):
        read(tmp_path / "net.npz")


def test_files_of_other_kinds(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"net\.pth: there is no such file of weights"):
        read(tmp_path / "net.pth")
    (tmp_path / "net.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ending in \.safetensors, .*; got '\.h5'"):
        read(tmp_path / "net.h5")
    (tmp_path / "net.pt").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"a file that torch\.save wrote; it begins with b'<!DOCTYP'"):
        read(tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(ValueError, match=r"the zip has \['readme'\]"):
        read(tmp_path / "net.pt")


def test_against_torch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LSTM(4, 3, 2))
    weights = net.state_dict() | {"flipped": net[0].weight.detach().permute(1, 0, 3, 2)[1:]}
    weights["brain"] = torch.randn(5).bfloat16()
    torch.save(weights, tmp_path / "net.pth")
    seen = read(tmp_path / "net.pth")
    assert list(seen) == list(weights)
    for name, tensor in weights.items():
        chex.assert_trees_all_equal(seen[name].astype(np.float64), tensor.double().numpy())
    torch.save(net.state_dict(keep_vars=True), tmp_path / "net.pth")
    chex.assert_trees_all_equal(read(tmp_path / "net.pth")["0.bias"], net[0].bias.detach().numpy())
    torch.save(net, tmp_path / "module.pth")
    with pytest.raises(ValueError, match=r"refused torch\.nn\.modules\.container\.Sequential"):
        read(tmp_path / "module.pth")
    old = io.BytesIO()
    torch.save(net.state_dict(), old, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(old.getvalue())
    with pytest.raises(ValueError, match="save it again"):
        read(tmp_path / "old.pth")
