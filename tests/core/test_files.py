import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jax231.core.files import append_record, read_records, sha256, write_whole


def test_what_is_written_is_there(tmp_path):
    path = tmp_path / "report.html"
    write_whole(path, "é")
    assert path.read_bytes() == "é".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "report.html"
    write_whole(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_an_interrupted_write_too(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "report.html", "new")
    assert os.listdir(tmp_path) == []


def test_threads_that_write_one_file_leave_one_whole_file(tmp_path):
    path, texts = tmp_path / "config.json", [str(i) * 200_000 for i in range(4)]
    threads = [threading.Thread(target=write_whole, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "file", "text")


def test_sha256(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_records_come_back_in_order(tmp_path):
    path = tmp_path / "records.jsonl"
    assert list(read_records(path)) == []
    for i in range(3):
        append_record(path, json.dumps({"step": i}).encode())
    assert list(read_records(path)) == [{"step": 0}, {"step": 1}, {"step": 2}]


@pytest.mark.parametrize("torn", [b'{"st', b"x" * 200_000])
@pytest.mark.parametrize("whole", [b"", b'{"step":0}\n'])
def test_a_torn_last_line_is_passed_over_and_then_cut_off(tmp_path, whole, torn):
    path = tmp_path / "records.jsonl"
    path.write_bytes(whole + torn)
    before = [json.loads(line) for line in whole.splitlines()]
    assert list(read_records(path)) == before
    append_record(path, b'{"step":1}')
    assert path.read_bytes() == whole + b'{"step":1}\n'
    assert list(read_records(path)) == [*before, {"step": 1}]


@pytest.mark.parametrize("broken", [b'{"step":', b"\xff\xfe", b""])
def test_a_broken_line_before_the_last_is_named(tmp_path, broken):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"step":0}\n' + broken + b'\n{"step":2}\n')
    records = read_records(path)
    assert next(records) == {"step": 0}
    with pytest.raises(ValueError, match=r"records.jsonl, line 2: expected a JSON record; got b"):
        next(records)


def test_a_record_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"append_record: expected one line for .*records.jsonl; got lines=2"):
        append_record(tmp_path / "records.jsonl", b"{\n}")
    assert os.listdir(tmp_path) == []


def test_many_processes_append_to_one_file(tmp_path):
    """Long lines, so that a write is seen half done, after the torn line of a killed process."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"torn"')
    code = (
        "import json, pathlib, sys\n"
        "from jax231.core.files import append_record\n"
        "for i in range(40):\n"
        "    append_record(pathlib.Path(sys.argv[1]), json.dumps([sys.argv[2], i, 'x' * 30_000]).encode())\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    seen = [(name, i) for name, i, _ in read_records(path)]
    assert sorted(seen) == sorted((str(n), i) for n in range(4) for i in range(40))
    assert [i for name, i in seen if name == "2"] == list(range(40))
