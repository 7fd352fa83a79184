"""The run folder: one configuration, one writer, records that survive a kill."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jax231.compare import store
from jax231.compare.config import Config
from jax231.measure.summary import Lane, Run

CONFIG = Config(problems=("softmax", "svm"), optimizers=("sgd",), settings=2, seeds=1)
LANE = Lane("softmax", "sgd", 0.1, 0, 1.5, False, start=2.3, best=1.5, steps=4, cost=2.0, accuracy=0.5)
RUN = Run("softmax", "sgd", 0.1, 1, [0, 4], [0.0, 2.0], [0.0, 0.01], [2.3, None], [0.1, 0.5], True, "diverged", "low")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Configuration


@pytest.mark.parametrize("config", [CONFIG, Config(), replace(CONFIG, budget=2.5, examples=60, batch_size=0)])
def test_the_configuration_is_read_back(tmp_path, config):
    folder = tmp_path / "runs" / "deep"
    store.open_folder(folder, config)
    assert store.read_config(folder) == config
    before = contents(folder)
    store.open_folder(folder, config)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": 3}, "settings 2 -> 3"),
        ({"budget": 2.0}, "budget None -> 2.0"),
        ({"problems": ("svm", "softmax")}, "problems"),
        ({"seeds": 2, "data": "mnist"}, "data digits -> mnist; seeds 1 -> 2"),
    ],
)
def test_another_configuration_is_refused_and_nothing_overwritten(tmp_path, changes, named):
    store.open_folder(tmp_path, CONFIG)
    store.Store(tmp_path).add_lane(LANE)
    before = contents(tmp_path)
    with pytest.raises(store.FolderError, match=named) as caught:
        store.open_folder(tmp_path, replace(CONFIG, **changes))
    assert "\n" not in str(caught.value)
    assert "--name" in str(caught.value)
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(store.FolderError, match=r"expected a new or empty folder.*; got other files"):
        store.open_folder(tmp_path, CONFIG)
    assert contents(tmp_path) == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("below", [".", "run"])
def test_a_file_where_the_folder_should_be_is_refused_in_a_line(tmp_path, below):
    file = tmp_path / "runs"
    file.write_text("mine")
    with pytest.raises(store.FolderError, match="expected a folder that can be written") as caught:
        store.open_folder(file / below, CONFIG)
    assert "\n" not in str(caught.value)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[compare", ""),
        ("[other]\n", "compare"),
        ('[compare]\noptimizers = ["adm"]\n', "adm"),
        ("[compare]\nsettings = 0\n", "at least one setting"),
        ('[compare]\nsettings = "many"\n', "settings"),
    ],
)
def test_a_damaged_configuration_is_named(tmp_path, text, said):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(
        store.FolderError, match=f"config.toml: expected the configuration of a comparison; got .*{said}"
    ):
        store.open_folder(tmp_path, CONFIG)


# The lock


HOLDER = """
import sys
from pathlib import Path
from jax231.compare import store
with store.locked(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_a_second_writer_is_refused_with_the_number_of_the_first(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(store.FolderError, match=f"got process {other.pid}, .*still at work"),
            store.locked(tmp_path),
        ):
            pass
        other.kill()
    with store.locked(tmp_path):  # the process is gone
        assert (tmp_path / "writer.pid").read_text() == str(os.getpid())


@pytest.mark.parametrize("left", ["", "not a number", "1"])
def test_what_a_writer_left_behind_is_taken_over(tmp_path, left):
    (tmp_path / "writer.pid").write_text(left)
    with store.locked(tmp_path):
        assert (tmp_path / "writer.pid").read_text() == str(os.getpid())


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), store.locked(tmp_path):
        raise KeyboardInterrupt
    with store.locked(tmp_path):
        pass


# Records


def test_records_come_back_as_they_were(tmp_path):
    records = store.Store(tmp_path)
    assert records.lanes() == records.runs() == {}
    assert records.study() is None
    records.add_lane(LANE)
    records.add_run(RUN)
    records.write_study({"format": 1, "rates": {"hvp": 1.5}})
    assert records.lanes() == {("softmax", "sgd", 0.1, 0): LANE}
    assert records.runs() == {("softmax", "sgd", 1): RUN}
    assert records.study() == {"format": 1, "rates": {"hvp": 1.5}}


def test_not_a_number_is_null(tmp_path):
    records = store.Store(tmp_path)
    records.add_lane(replace(LANE, final=math.nan, best=math.inf))
    records.add_run(replace(RUN, loss=[2.3, math.nan]))
    assert b'"final":null' in (tmp_path / "sweep.jsonl").read_bytes()
    (lane,), (run,) = records.lanes().values(), records.runs().values()
    assert (lane.final, lane.best) == (None, None)
    assert run.loss == [2.3, None]


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path, cut):
    records = store.Store(tmp_path)
    records.add_lane(LANE)
    records.add_run(RUN)
    for name in ("sweep.jsonl", "runs.jsonl"):
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:cut])
    assert list(records.lanes().values()) == [LANE]
    assert list(records.runs().values()) == [RUN]
    records.add_lane(replace(LANE, seed=1))
    records.add_run(replace(RUN, seed=2))
    assert [lane.seed for lane in records.lanes().values()] == [0, 1]
    assert [run.seed for run in records.runs().values()] == [1, 2]
    assert all(path.read_bytes().count(b"\n") == 2 for path in tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("text", ["", "{", '{"format": 1'])
def test_a_damaged_study_is_named(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(store.FolderError, match=r"study\.json: expected JSON; got a damaged file.*remove it"):
        store.Store(tmp_path).study()


def test_a_damaged_record_is_named(tmp_path):
    records = store.Store(tmp_path)
    (tmp_path / "sweep.jsonl").write_text("broken\n")
    records.add_lane(LANE)
    with pytest.raises(ValueError, match=r"sweep\.jsonl, line 1: expected a JSON record"):
        records.lanes()


def test_pandas_reads_the_records(tmp_path):
    pandas = pytest.importorskip("pandas")
    records = store.Store(tmp_path)
    for seed in range(3):
        records.add_lane(replace(LANE, seed=seed, final=None if seed == 1 else 0.5))
        records.add_run(replace(RUN, seed=seed))
    lanes = pandas.read_json(tmp_path / "sweep.jsonl", lines=True)
    runs = pandas.read_json(tmp_path / "runs.jsonl", lines=True)
    assert list(lanes["seed"]) == list(runs["seed"]) == [0, 1, 2]
    assert list(lanes["final"].isna()) == [False, True, False]
    assert runs["loss"][0] == [2.3, None]
