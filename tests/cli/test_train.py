"""``jax231 train`` and ``jax231 evaluate``: from flags, files and runs; what they refuse in one line."""

import json
import re

import pytest

from jax231.train.config import from_toml
from jax231.train.judge import Judge
from tests.compilations import kept_in

TINY = ["train", "--model", "softmax", "--epochs", "2", "--examples", "64", "--batch", "16"]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


def test_a_run_end_to_end(call, tmp_path):
    code, out, err = call(*TINY, "--runs", tmp_path, "--tensorboard")
    run = tmp_path / "softmax-digits"
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert (code, err) == (0, "")
    assert "epoch 2/2: loss" in out
    assert re.search(r"last checkpoint.* \(step 8, epoch 2\): validation loss .*; test loss", out)
    config = from_toml(run / "config.toml")
    assert (config.model, config.epochs, config.batch) == ("softmax", 2, 16)
    code, out, _ = call("train", "--resume", run)
    assert code == 0
    assert "Nothing is left to do" in out
    code, out, _ = call("evaluate", run, "--json", "--split", "validation")
    assert code == 0
    assert json.loads(out)[0]["examples"] == 300
    code, _, err = call("train", "--resume", run, "--epochs", "5")
    assert code == 2
    assert f"jax231: {run}: expected the configuration of the run in it; got epochs 2 -> 5. A run keeps" in err
    assert f"by --from {run} and a new --name" in err
    code, _, err = call(*TINY, "--runs", tmp_path)
    assert code == 2
    assert f"Go on with it by --resume {run}" in err
    code, out, _ = call("train", "--config", run / "config.toml", "--epochs", "1", "--runs", tmp_path, "--name", "b")
    assert code == 0
    assert from_toml(tmp_path / "b" / "config.toml").epochs == 1


def test_the_end_says_which_checkpoint_is_which(call, tmp_path, monkeypatch):
    judged = Judge.now
    scores = iter([0.9, 0.3])
    monkeypatch.setattr(Judge, "now", lambda self, *x: judged(self, *x)._replace(accuracy=next(scores, 0.5)))
    code, out, _ = call(*TINY, "--runs", tmp_path)
    assert code == 0
    assert re.search(r"last checkpoint \(step 8, epoch 2\): validation .*, accuracy 30.00 %; test loss", out)
    assert re.search(r"best checkpoint by validation accuracy \(step 4, epoch 1\): validation .*; test loss", out)
    assert "evaluate, predict and report use the best checkpoint; with --which newest the last." in out
    monkeypatch.undo()
    loss = re.search(r"best checkpoint .*test loss ([\d.]+)", out)[1]
    said = call("evaluate", tmp_path / "softmax-digits")[1]
    assert f"digits, test, best checkpoint (step 4): loss {loss}," in said
    assert "newest checkpoint (step 8)" in call("evaluate", tmp_path / "softmax-digits", "--which", "newest")[1]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["--model", "softmx"], "nearest: softmax"),
        (["--optimizer", "adm"], "nearest: adam"),
        (["--data", "cifr"], "did you mean cifar10?"),
        (["--data", "mnist", "--data-dir", "{here}"], "jax231 data fetch mnist"),
        (["--data", "{here}/empty"], "expected one subfolder of images a class; found none"),
        (["--model", "char_lstm"], "expected a text, as --data tiny_shakespeare or --data FILE, or a model of images"),
        (["--model", "char_rnn", "--data", "{here}/empty"], "got model='char_rnn', data='{here}/empty', a folder"),
        (["--data", "tiny_shakespeare"], "got model='convnet', data='tiny_shakespeare', a text"),
        (["--data", "{here}/book.txt"], "expected images, as --data digits or --data FOLDER, or a model of text"),
        (["--rate", "0"], "a finite rate above 0; got rate=0.0"),
        (["--model", "vgg16"], "at least 32x32"),
        (["--schedule", "cosin"], 'Did you mean "cosine"?'),
        (["--config", "{here}/no.toml"], "no.toml"),
        (["--stream", "always"], "expected a folder of images to stream; got data='digits'"),
        (["--crop", "center"], "expected a size to which what is cut out is resized"),
        (["--resume", "{here}/nothing"], "expected the folder of a training run; got no such folder"),
        (["--batch", "99999"], "a batch of at most the"),
        (["--from", "{here}/nothing"], "expected the folder of a training run; got no such folder"),
        (["--processes", "2"], "coordinator, processes and process together, or none of them"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(call, tmp_path, tokens, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "book.txt").write_text("It was the best of times.")
    code, _, err = call("train", *(token.format(here=tmp_path) for token in tokens), "--runs", tmp_path / "runs")
    assert code == 2
    assert err.startswith("jax231: ")
    assert said.format(here=tmp_path) in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_of_nothing_is_not_evaluated(call, tmp_path):
    code, _, err = call("evaluate", tmp_path)
    assert code == 2
    assert "a folder without config.toml" in err
