"""``jax231 report`` of training runs; that of comparisons is in `test_cli`."""

import re

import numpy as np
import pytest

from jax231.data.digits import digits
from jax231.train.config import Config
from jax231.train.loop import train
from jax231.train.predict import predict
from jax231.train.run import open_run
from tests import runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs on digits."""
    folder = tmp_path_factory.mktemp("report") / "run"
    config = Config(model="convnet", arguments={"channels": [4]}, epochs=2, rate=0.3, examples=640, validation=0)
    train(config, folder, chunk=5)
    return folder


def test_the_page_counts_as_a_loop_does(call, trained):
    code, out, err = call("report", trained, "--worst", "3")
    assert (code, err) == (0, "")
    assert out.strip() == f"report: {(trained / 'report.html').as_uri()}"
    text = (trained / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    test = digits().test
    counts = np.zeros((10, 10), int)
    for label, chances in zip(test.labels, predict(open_run(trained), test.images), strict=True):
        counts[label, chances.argmax()] += 1
    cells = re.findall(r'<td class="(?:hit|miss|zero)" style="[^"]*">([^<]*)</td>', text)
    assert [0 if cell == "·" else int(cell) for cell in cells] == counts.ravel().tolist()
    right = np.trace(counts)
    assert f"Test accuracy {right / 3:.2f} %, {300 - right} of 300 images wrong after 2 epochs" in text
    assert len(re.findall("<p>loss .*#[0-9]+</p>", text)) == 3
    for word in ("First-layer filters", "4 filters of 3×3 pixels", "step size", "SHA-256"):
        assert word in text


def test_choices_and_a_picture(call, trained, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "run.png"
    choices = ("--split", "train", "--which", "newest", "--worst", "0")
    code, out, _ = call("report", trained, "--picture", picture, *choices)
    assert code == 0
    assert f"picture: {picture}" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = (trained / "report.html").read_text()
    assert "of 640 images wrong" in text
    assert "the newest, that of step 10" in text
    assert "The worst examples" not in text
    code, _, err = call("report", trained, "--split", "validation")
    assert (code, "a split that the data have; got split='validation'" in err) == (2, True)


def test_data_that_are_not_there(call, trained, tmp_path):
    """The run says that it was on MNIST, whose files are nowhere."""
    for path in trained.rglob("*"):
        if path.is_file():
            copy = tmp_path / "run" / path.relative_to(trained)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace('"digits"', '"mnist"'))
    code, out, _ = call("report", tmp_path / "run", "--data-dir", tmp_path / "nowhere")
    text = (tmp_path / "run" / "report.html").read_text()
    assert code == 0
    for said in (out, text):
        assert "Nothing is shown of single examples" in said
        assert "jax231 data fetch mnist" in said
    assert "First-layer filters" in text
    assert "What is taken for what" not in text


def test_a_run_that_was_interrupted(call, trained, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.toml", "data.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    first = (trained / "metrics.jsonl").read_text().splitlines(keepends=True)[0]
    (folder / "metrics.jsonl").write_text(first + first[:20])  # torn by a kill
    code, out, _ = call("report", folder)
    assert code == 0
    assert "got none yet" in out
    text = (folder / "report.html").read_text()
    assert f"0 of 2 epochs are done. If it is not still at work, go on with jax231 train --resume {folder}" in text


def test_a_text(call, tmp_path):
    (tmp_path / "corpus.txt").write_text(runs.TEXT)
    config = Config(
        model="char_rnn", data=str(tmp_path / "corpus.txt"), arguments={"hidden": 8}, length=6, batch=4, epochs=1
    )
    train(config, tmp_path / "run", chunk=20)
    code, _, err = call("report", tmp_path / "run", "--worst", "2")
    assert (code, err) == (0, "")
    text = (tmp_path / "run" / "report.html").read_text()
    for word in (
        "nats a character",
        "perplexity",
        "What it writes",
        "Character by character",
        "What surprised it most",
    ):
        assert word in text
    (tmp_path / "corpus.txt").unlink()
    code, out, _ = call("report", tmp_path / "run")
    assert (code, "corpus.txt" in out) == (0, True)


def test_folders_of_neither_kind_and_choices_of_the_other(call, tmp_path):
    code, _, err = call("report", tmp_path)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "folder of a comparison (study.json" in err
    assert "or of a training run (config.toml with [train]" in err
    (tmp_path / "config.toml").write_text("[compare]\n")
    code, _, err = call("report", tmp_path, "--split", "test")
    assert (code, "only --picture for the report of a comparison; got split='test'" in err) == (2, True)
