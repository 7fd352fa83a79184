"""Loading by name: real files where they are, small written ones for every edition, and every kind of damage."""

import gzip
import json
import logging
import pickle
import struct
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from jax231.data import catalog, cifar, idx, sources
from jax231.data.errors import DataError, MissingDataError
from jax231.data.locate import File, data_folder, digest

RNG = np.random.default_rng(0)


def shrunk(edition, counts):
    """The edition with other numbers of examples, its files known by no digest."""
    files = []
    for file in edition.files:
        keywords = dict(file.parse.keywords)
        if "count" in keywords:
            keywords["count"] = counts["test" if file.name.startswith(("t10k", "test")) else "train"]
        files.append(File(file.name, "", partial(file.parse.func, **keywords)))
    return edition._replace(files=tuple(files))


@pytest.fixture
def small(monkeypatch):
    """Shrink every data set of images to 3 training examples a file and 2 for the test."""
    for name, entry in list(catalog.CATALOG.items()):
        if entry.kind == "images":
            editions = tuple(shrunk(edition, {"train": 3, "test": 2}) for edition in entry.editions)
            monkeypatch.setitem(catalog.CATALOG, name, entry._replace(editions=editions, held_out=1))


def write_idx(folder, pack=gzip.compress, suffix=".gz"):
    folder.mkdir(parents=True)
    written = {}
    for part, n in (("train", 3), ("t10k", 2)):
        images = RNG.integers(0, 256, (n, 28, 28), np.uint8)
        labels = np.arange(n, dtype=np.uint8)
        content = struct.pack(">IIII", 2051, *images.shape) + images.tobytes()
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(content))
        content = struct.pack(">II", 2049, n) + labels.tobytes()
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(content))
        written[part] = images[..., None], labels
    return written


def write_cifar(root, edition, classes):
    """One edition as its distribution lays it out; returns all pixels as (n, 32, 32, 3) of train, then test."""
    folder = root / edition
    folder.mkdir(parents=True)
    names = [f"class_{i}" for i in range(classes)]
    fine = "fine_" if classes == 100 else ""
    batches = [f"data_batch_{i}" for i in range(1, 6)] if classes == 10 else ["train"]
    pixels = []
    for name in [*batches, "test_batch" if classes == 10 else "test"]:
        n = 2 if name.startswith("test") else 3
        images = RNG.integers(0, 256, (n, 32, 32, 3), np.uint8)
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(n, 3072)
        labels = np.arange(n) + classes - 3
        if edition.endswith(("py", "python")):
            batch = {b"data": planes, f"{fine}labels".encode(): labels.tolist(), b"coarse_labels": [0] * n}
            (folder / name).write_bytes(pickle.dumps(batch, 2))
        else:
            columns = [np.zeros(n), labels, planes] if classes == 100 else [labels, planes]
            (folder / f"{name}.bin").write_bytes(np.column_stack(columns).astype(np.uint8).tobytes())
        pixels.append(images)
    if edition.endswith(("py", "python")):
        meta = {f"{fine or ''}label_names".encode(): [name.encode() for name in names]}
        (folder / ("meta" if classes == 100 else "batches.meta")).write_bytes(pickle.dumps(meta, 2))
    else:
        name = "fine_label_names.txt" if classes == 100 else "batches.meta.txt"
        (folder / name).write_text("\n".join(names) + "\n\n")
    return np.concatenate(pixels)


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bytes, "")])
def test_mnist_packed_and_plain(small, tmp_path, folder, pack, suffix):
    written = write_idx(tmp_path / folder, pack, suffix)
    data = sources.load("mnist", tmp_path)
    for ours, theirs in ((data.train, written["train"]), (data.test, written["t10k"])):
        np.testing.assert_array_equal(ours.images, theirs[0])
        np.testing.assert_array_equal(ours.labels, theirs[1])
    assert sorted(data.digests)[0] == f"{folder}/t10k-images-idx3-ubyte{suffix}"
    assert data.split().validation.images.shape == (1, 28, 28, 1)


@pytest.mark.parametrize(
    ("name", "edition", "classes"),
    [
        ("cifar10", "cifar-10-batches-py", 10),
        ("cifar10", "cifar-10-batches-bin", 10),
        ("cifar100", "cifar-100-python", 100),
        ("cifar100", "cifar-100-binary", 100),
    ],
)
def test_every_edition_of_cifar(small, tmp_path, name, edition, classes):
    pixels = write_cifar(tmp_path, edition, classes)
    data = sources.load(name, str(tmp_path))
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images]), pixels)
    np.testing.assert_array_equal(data.test.labels, [classes - 3, classes - 2])
    assert data.classes == tuple(f"class_{i}" for i in range(classes))
    assert data.shape == (32, 32, 3)
    report = sources.check(name, tmp_path)
    assert report.usable
    assert {file.status for file in report.files} == {"found"}


def test_swapped_files_are_named(small, tmp_path):
    write_idx(tmp_path / "mnist")
    images, labels = (tmp_path / "mnist" / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    report = sources.check("mnist", tmp_path)
    assert [file.status for file in report.files] == ["corrupt", "corrupt", "found", "found"]
    assert not report.usable
    with pytest.raises(DataError, match=r"mnist/train-images-idx3-ubyte.gz: expected an IDX header of 16 bytes"):
        sources.load("mnist", tmp_path)
    content = (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    images.write_bytes(content)
    with pytest.raises(DataError, match=r"axes \(3, 28, 28\) in the header; found \(2, 28, 28\)"):
        sources.load("mnist", tmp_path)


def test_missing_files_are_named_with_the_remedy(small, tmp_path):
    with pytest.raises(
        MissingDataError, match=r"cifar100: expected train, test, meta in .*cifar-100-python; found no su"
    ):
        sources.load("cifar100", tmp_path)
    write_cifar(tmp_path, "cifar-100-binary", 100)
    (tmp_path / "cifar-100-binary" / "test.bin").unlink()
    with pytest.raises(
        MissingDataError, match=r"expected test.bin in .*-binary; .*`jax231 data fetch cifar100`"
    ) as caught:
        sources.load("cifar100", tmp_path)
    assert "--data-dir or JAX231_DATA" in str(caught.value)
    report = sources.check("cifar100", tmp_path)
    assert [file.status for file in report.files] == ["found", "missing", "found"]
    assert not report.usable


def test_other_content_with_the_right_structure_is_used_and_noted(small, monkeypatch, tmp_path, caplog):
    write_idx(tmp_path / "mnist")
    entry = catalog.CATALOG["mnist"]
    first, *rest = entry.editions[0].files
    edition = entry.editions[0]._replace(files=(first._replace(digest="md5:" + "0" * 32), *rest))
    monkeypatch.setitem(catalog.CATALOG, "mnist", entry._replace(editions=(edition,)))
    with caplog.at_level(logging.WARNING, "jax231"):
        data = sources.load("mnist", tmp_path)
    assert len(caplog.records) == 1
    assert "mnist: train-images-idx3-ubyte.gz in" in caplog.text
    assert "not the official digests" in caplog.text
    path = tmp_path / "mnist" / first.name
    assert "sha256:" + data.digests[f"mnist/{first.name}"] == digest(path.read_bytes(), "sha256")
    report = sources.check("mnist", tmp_path)
    assert report.usable
    assert [file.status for file in report.files] == ["differs", "found", "found", "found"]


def test_unknown_names_and_the_wrong_kind():
    with pytest.raises(
        ValueError, match=r"expected one of digits, mnist, .*; got 'fashion-mnist'; did you mean fashion_m"
    ):
        sources.load("fashion-mnist")
    with pytest.raises(ValueError, match=r"got 'zzz'$"):
        sources.check("zzz")
    with pytest.raises(ValueError, match="a text: use load_text"):
        sources.load("tiny_shakespeare")
    with pytest.raises(ValueError, match="'digits', a data set of images: use load"):
        sources.load_text("digits")


def test_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX231_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder("given").name == "given"
    assert data_folder() == tmp_path / "named"
    monkeypatch.setenv("JAX231_DATA", "")
    assert data_folder() == tmp_path / "cache" / "jax231"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "jax231"


def test_the_list_is_json_and_says_where(small, tmp_path):
    write_idx(tmp_path / "mnist")
    rows = {row.name: row for row in sources.listing(tmp_path)}
    assert tuple(rows) == sources.NAMES
    json.dumps([row._asdict() for row in rows.values()])
    assert rows["mnist"].place == str(tmp_path / "mnist")
    assert rows["cifar100"].note == "jax231 data fetch cifar100 (169 MB)"
    assert (rows["digits"].train, rows["digits"].test) == (1497, 300)
    assert sources.check("digits").usable
    json.dumps(sources.check("mnist", tmp_path)._asdict())


def test_nothing_heavy_is_imported_until_it_is_used():
    code = "import sys; from jax231.data import fetch, folders, sources; sources.listing(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "jax231.data.pickles" in modules
    assert not {"sklearn", "PIL", "pandas", "optax", "flax"} & set(modules)


def test_the_table_agrees_with_its_readers():
    for entry in catalog.CATALOG.values():
        for file in entry.editions[0].files:
            assert file.digest.partition(":")[0] in ("md5", "sha256")
            if file.parse.func in (idx.labels, cifar.python_batch, cifar.python_names):
                assert file.parse.keywords["classes"] == entry.classes
        for download in entry.downloads:
            assert download.urls[0].startswith("https://")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_official_files(data_dir, name, caplog):
    data = sources.load(name, data_dir)
    assert (data.train.images.shape, data.test.images.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert not caplog.records
    mean = {"mnist": 0.1307, "fashion_mnist": 0.2860}[name]  # as published with the usual recipes
    np.testing.assert_allclose(data.train.images.mean() / 255, mean, atol=5e-5)
    first = {"mnist": [5, 0, 4, 1, 9], "fashion_mnist": [9, 0, 0, 3, 0]}[name]
    np.testing.assert_array_equal(data.train.labels[:5], first)
    assert {file.status for file in sources.check(name, data_dir).files} == {"found"}


def test_cifar_10(data_dir):
    data = sources.load("cifar10", data_dir)
    assert (data.train.images.shape, data.test.images.shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    np.testing.assert_array_equal(np.bincount(data.train.labels), np.full(10, 5000))
    published = [0.4914, 0.4822, 0.4465]
    np.testing.assert_allclose(data.train.images.mean((0, 1, 2)) / 255, published, atol=1e-4)
    assert data.classes[data.train.labels[0]] == "frog"
    assert len(data.digests) == 7
    np.testing.assert_array_equal(np.bincount(data.split().validation.labels), np.full(10, 500))
