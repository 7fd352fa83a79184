"""``jax231 data``: listing and checking the files of data sets."""

import json
import shutil

import pytest

from jax231.data import sources
from tests import photos


def test_the_list_without_any_files(call, tmp_path):
    code, out, err = call("data", "list", "--json", "--data-dir", tmp_path)
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert tuple(rows) == sources.NAMES
    assert rows["digits"]["place"] == "scikit-learn"
    assert rows["digits"]["train"] + rows["digits"]["test"] == 1797
    assert rows["mnist"]["place"] == ""
    assert "jax231 data fetch mnist" in rows["mnist"]["note"]
    code, table, _ = call("data", "list", "--data-dir", tmp_path)
    assert code == 0
    assert all(name in table for name in sources.NAMES)


def test_the_digits_are_always_right(call):
    code, out, _ = call("data", "check", "digits", "--json")
    assert code == 0
    assert [(row["status"], row["usable"]) for row in json.loads(out)] == [("found", True)]


def test_missing_files_are_code_1(call, tmp_path):
    code, out, err = call("data", "check", "mnist", "--data-dir", tmp_path)
    assert (code, err) == (1, "")
    assert out.count("missing") == 4
    assert "jax231 data fetch mnist" in out
    code, out, _ = call("data", "check", "--json", "--data-dir", tmp_path)
    assert code == 1
    assert {row["set"] for row in json.loads(out)} == set(sources.NAMES)


def test_real_files_are_right(call, data_dir):
    code, out, _ = call("data", "check", "mnist", "fashion_mnist", "--json", "--data-dir", data_dir)
    rows = json.loads(out)
    assert code == 0
    assert len(rows) == 8
    assert {row["status"] for row in rows} <= {"found", "differs"}
    listed = {row["name"]: row for row in json.loads(call("data", "list", "--json", "--data-dir", data_dir)[1])}
    assert listed["mnist"]["note"] == "found"
    assert listed["mnist"]["place"].startswith(str(data_dir))


@pytest.mark.parametrize("damage", ["cut", "swapped", "removed"])
def test_a_damaged_copy_is_code_1_and_named(call, data_dir, tmp_path, damage):
    shutil.copytree(data_dir / "mnist", tmp_path / "mnist")
    labels, images = (tmp_path / "mnist" / f"t10k-{kind}-ubyte.gz" for kind in ("labels-idx1", "images-idx3"))
    if damage == "cut":
        labels.write_bytes(labels.read_bytes()[:1000])
    elif damage == "swapped":
        labels.write_bytes(images.read_bytes())
    else:
        labels.unlink()
    code, out, _ = call("data", "check", "mnist", "--json", "--data-dir", tmp_path)
    assert code == 1
    bad = [row for row in json.loads(out) if row["status"] not in ("found", "differs")]
    assert [row["name"] for row in bad] == ["t10k-labels-idx1-ubyte.gz"]
    assert bad[0]["status"] == ("missing" if damage == "removed" else "corrupt")
    assert bad[0]["note"]
    assert not bad[0]["usable"]


def test_a_folder_of_images_is_checked(call, tmp_path):
    folder = tmp_path / "photos"
    photos.write(folder, 6)
    code, out, err = call("data", "check", folder, "--json")
    assert (code, err) == (0, "")
    row = {"set": "photos", "folder": str(folder), "usable": True, "name": "6 whole images", "status": "found"}
    assert json.loads(out) == [row | {"note": "5 train, 1 test; 3 classes; 6x6"}]
    photos.damage(folder / "b" / "001.png")
    code, out, _ = call("data", "check", folder, "--json")
    assert code == 1
    whole, bad = json.loads(out)
    assert (whole["name"], bad["name"], bad["status"]) == ("5 whole images", "b/001.png", "corrupt")
    assert whole["note"] == "4 train, 1 test; 3 classes; 6x6; without 1 damaged of 6 files"
    code, _, err = call("data", "check", tmp_path / "none")
    assert code == 2
    assert "expected one subfolder of images a class; found no such folder" in err
