"""``jax231 doctor`` and ``jax231 tune`` as they are called."""

import json

import pytest


def test_doctor_prints_a_table_and_advice(call):
    code, out, _ = call("doctor", "--model", "softmax", "--layers")
    assert code == 0
    for check in ("initial loss", "regularization", "activations", "gradient", "overfits 20", "rate range"):
        assert check in out
    assert "begin with a learning rate of about" in out


def test_doctor_fails_where_a_check_fails(call):
    code, out, _ = call("doctor", "--model", "softmax", "--preprocess", "none", "--optimizer", "lbfgs", "--json")
    record = json.loads(out)
    verdicts = {check["name"]: check["verdict"] for check in record["checks"]}
    assert verdicts["rate range"] == verdicts["update to weight"] == "skipped"
    assert code == int("failed" in verdicts.values())


def test_doctor_refuses_what_there_is_not(call):
    code, _, err = call("doctor", "--model", "lenett")
    assert code == 2
    assert "nearest: lenet" in err


def test_tune_prints_stages_and_how_to_train_the_best(call, tmp_path):
    tokens = ("tune", "two_layer", "digits", "--settings", 3, 2, "--epochs", 1, 1, "--width", 4, "--examples", 64,
              "--validation", 32, "--folds", 1, "--rate", 1e-3, 1e-1, "--runs", tmp_path, "--batch", 32)  # fmt: skip
    code, out, err = call(*tokens)
    assert (code, err) == (0, "")
    assert "Stage 2: 2 settings" in out
    assert "train it: jax231 train --model two_layer --data digits --optimizer nesterov --rate" in out
    assert (tmp_path / "tune-two_layer-digits" / "search.svg").read_text().startswith("<?xml")
    code, again, _ = call(*tokens)
    assert code == 0
    assert again.split("best: ")[-1].splitlines()[0] == out.split("best: ")[-1].splitlines()[0]
    code, _, err = call(*tokens, "--grid", "--sobol")
    assert code == 2
    assert "one of --grid and --sobol" in err


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("tune", "softmax", "--batch", 4000), "tune: expected a batch of at most the 1197 training examples"),
        (("tune", "softmax", "--size", 8, "--crop", "random"), "tune: expected the crop none or center"),
        (("tune", "softmax", "--size", 8, "--crop", "center"), "expected a folder of images to cut from"),
        (("doctor", "--size", 8, "--crop", "center"), "expected a folder of images to cut from"),
        (("doctor", "--corrupt", "never"), 'Invalid value "never" for --corrupt'),
    ],
)
def test_tune_and_doctor_refuse_what_train_does(call, tmp_path, monkeypatch, tokens, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*tokens)
    assert code == 2
    assert said in err
    assert list(tmp_path.iterdir()) == []
