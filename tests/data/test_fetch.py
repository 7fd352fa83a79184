"""Downloads from a server of this machine: whole, resumed, from a mirror, refused; archives; no network at all."""

import hashlib
import io
import re
import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jax231.data import catalog, sources, text
from jax231.data.errors import FetchError
from jax231.data.fetch import fetch
from jax231.data.locate import Download, Edition, File

CONTENT = np.random.default_rng(0).integers(32, 127, 1_000_000, np.uint8).tobytes()


class Server(ThreadingHTTPServer):
    """Serves `files` at /name; understands Range unless told not to; can hang up after some bytes of an answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.hang_up_after: list[int] = []
        self.seen: list[str] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range", "")
        server.seen.append(wanted)
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = 0
        if wanted and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.hang_up_after:
            body = body[: server.hang_up_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def offer(monkeypatch, server, urls=("{url}/input.txt",), content=CONTENT, size=None):
    """Make tiny Shakespeare a file of this server."""
    official = "sha256:" + hashlib.sha256(content).hexdigest()
    entry = catalog.TINY_SHAKESPEARE
    reader = partial(text.ascii_text, characters=len(content))
    edition = entry.editions[0]._replace(files=(File("input.txt", official, reader),))
    urls = tuple(url.format(url=server.url) for url in urls)
    download = entry.downloads[0]._replace(urls=urls, digest=official, size=size or len(content))
    new = entry._replace(editions=(edition,), downloads=(download,))
    monkeypatch.setitem(catalog.CATALOG, "tiny_shakespeare", new)
    server.files["input.txt"] = content


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_whole_download_with_progress(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    told = []
    report = fetch("tiny_shakespeare", tmp_path / "new", lambda *told_now: told.append(told_now))
    assert report.usable
    assert [file.status for file in report.files] == ["found"]
    assert contents(tmp_path) == ["new/tiny_shakespeare/input.txt"]
    assert told[-1] == ("input.txt", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    fetch("tiny_shakespeare", tmp_path / "new")
    assert server.seen == [""]  # what is there is not asked for again


def test_an_interrupted_download_goes_on(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    server.hang_up_after = [300_000, 400_000]
    with pytest.raises(FetchError, match="the connection ended after 300000 of 1000000 bytes"):
        fetch("tiny_shakespeare", tmp_path)
    assert contents(tmp_path) == ["tiny_shakespeare/input.txt.part"]
    fetch("tiny_shakespeare", tmp_path)
    assert server.seen == ["", "bytes=300000-", "bytes=700000-"]
    assert (tmp_path / "tiny_shakespeare" / "input.txt").read_bytes() == CONTENT
    assert contents(tmp_path) == ["tiny_shakespeare/input.txt"]


def test_an_interruption_from_the_keyboard_keeps_what_came(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)

    def impatient(file, done, total):
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("tiny_shakespeare", tmp_path, impatient)
    kept = (tmp_path / "tiny_shakespeare" / "input.txt.part").stat().st_size
    assert kept > 400_000
    assert fetch("tiny_shakespeare", tmp_path).usable
    assert server.seen == ["", f"bytes={kept}-"]


def test_a_server_without_resuming_is_asked_for_all_of_it(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    server.ranges = False
    server.hang_up_after = [300_000]
    assert fetch("tiny_shakespeare", tmp_path).usable
    assert server.seen == ["", "bytes=300000-"]


def test_another_mirror_helps_out(monkeypatch, server, tmp_path):
    offer(monkeypatch, server, urls=("{url}/gone.txt", "{url}/input.txt"))
    assert fetch("tiny_shakespeare", tmp_path).usable


def test_other_content_is_refused_and_removed(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    server.files["input.txt"] = CONTENT[:-1] + b"?"
    with pytest.raises(
        FetchError, match=r"input.txt.part: expected sha256:[0-9a-f]+, found sha256:.*removed"
    ) as caught:
        fetch("tiny_shakespeare", tmp_path)
    assert f"put it into {tmp_path / 'tiny_shakespeare'}" in str(caught.value)
    assert contents(tmp_path) == []


def test_another_file_is_not_mixed_into_the_part(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    (tmp_path / "tiny_shakespeare").mkdir()
    part = tmp_path / "tiny_shakespeare" / "input.txt.part"
    part.write_bytes(CONTENT[:1000])
    server.files["input.txt"] = b"<html>please log in</html>"
    server.ranges = False
    with pytest.raises(FetchError, match="the server offers 26 bytes, expected 1000000"):
        fetch("tiny_shakespeare", tmp_path)
    assert part.read_bytes() == CONTENT[:1000]


def test_a_page_that_is_not_there(monkeypatch, server, tmp_path):
    offer(monkeypatch, server, urls=("{url}/gone.txt",))
    with pytest.raises(FetchError, match=r"tiny_shakespeare: could not download input.txt .*HTTP Error 404"):
        fetch("tiny_shakespeare", tmp_path)


def test_no_network_says_what_to_put_where(monkeypatch, server, tmp_path):
    offer(monkeypatch, server, urls=("http://127.0.0.1:1/input.txt",))
    with pytest.raises(FetchError, match="Connection refused") as caught:
        fetch("tiny_shakespeare", tmp_path)
    message = str(caught.value)
    assert "Without a network, bring the file (1000000 bytes, sha256:" in message
    assert f"from http://127.0.0.1:1/input.txt and put it into {tmp_path / 'tiny_shakespeare'}" in message
    assert message.count("127.0.0.1:1/input.txt: ") == 1


def test_a_second_download_at_the_same_time_is_refused(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    seen = []

    def meanwhile(file, done, total):
        if not seen:
            with pytest.raises(FetchError, match="another process is downloading") as caught:
                fetch("tiny_shakespeare", tmp_path)
            seen.append(caught.value)

    assert fetch("tiny_shakespeare", tmp_path, meanwhile).usable
    assert seen


def test_a_missing_file_joins_those_that_are_there(monkeypatch, server, tmp_path):
    offer(monkeypatch, server)
    entry = catalog.CATALOG["tiny_shakespeare"]
    second = File("notes.txt", "", lambda path, content: content)
    edition = Edition(("usual", "there"), (*entry.editions[0].files, second), lambda *parsed: parsed)
    monkeypatch.setitem(catalog.CATALOG, entry.name, entry._replace(editions=(edition,)))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("kept")
    assert fetch("tiny_shakespeare", tmp_path).usable
    assert contents(tmp_path) == ["there/input.txt", "there/notes.txt"]


def packed(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def offer_archive(monkeypatch, server, archive):
    entry = catalog.CIFAR10
    files = tuple(File(name, "", lambda path, content: content) for name in ("one", "two"))
    edition = Edition(("cifar-10-batches-py",), files, lambda *parsed: parsed)
    digest = "md5:" + hashlib.md5(archive).hexdigest()
    download = Download("cifar-10-python.tar.gz", (f"{server.url}/c.tar.gz",), digest, len(archive), archive=True)
    monkeypatch.setitem(catalog.CATALOG, "cifar10", entry._replace(editions=(edition,), downloads=(download,)))
    server.files["c.tar.gz"] = archive


def test_an_archive_is_unpacked_into_place(monkeypatch, server, tmp_path):
    members = {f"cifar-10-batches-py/{name}": name.encode() for name in ("one", "two", "readme.html")}
    offer_archive(monkeypatch, server, packed(members))
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "mine").write_text("kept")
    assert fetch("cifar10", tmp_path).usable
    assert contents(tmp_path) == [f"cifar-10-batches-py/{name}" for name in ("mine", "one", "two")]


def test_an_archive_that_was_brought_by_hand_is_unpacked_and_kept(monkeypatch, server, tmp_path):
    archive = packed({f"cifar-10-batches-py/{name}": name.encode() for name in ("one", "two")})
    offer_archive(monkeypatch, server, archive)
    del server.files["c.tar.gz"]
    with pytest.raises(FetchError, match=f"put it into {tmp_path}, then fetch again: it is unpacked from there"):
        fetch("cifar10", tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive)
    assert fetch("cifar10", tmp_path).usable
    assert "cifar-10-python.tar.gz" in contents(tmp_path)


def test_an_archive_cannot_write_elsewhere(monkeypatch, server, tmp_path):
    offer_archive(monkeypatch, server, packed({"../outside": b"x", "cifar-10-batches-py/one": b"1"}))
    with pytest.raises(ValueError, match=r"cifar-10-python.tar.gz: expected a tar archive .* outside"):
        fetch("cifar10", tmp_path / "data")
    assert contents(tmp_path) == ["data/cifar-10-python.tar.gz"]


def test_digits_need_no_download(tmp_path):
    assert fetch("digits", tmp_path) == sources.check("digits")
    with pytest.raises(ValueError, match="did you mean mnist"):
        fetch("mnits", tmp_path)
