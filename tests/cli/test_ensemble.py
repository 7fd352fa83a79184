"""``jax231 ensemble`` and the others on a run of several members, and on one with snapshots."""

import json

import pytest

from tests.compilations import kept_in

RUN = ["train", "--model", "softmax", "--examples", "64", "--batch", "16", "--rate", "0.1"]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


def test_members_are_trained_evaluated_and_averaged(call, tmp_path):
    code, out, err = call(*RUN, "--members", "2", "--ema", "0.9", "--epochs", "2", "--runs", tmp_path, "--tensorboard")
    assert (code, err) == (0, "")
    assert out.count(" .. ") == 8  # of two epochs: loss and accuracy, of training and of validation
    assert "the mean of 2 alone: loss" in out
    run = tmp_path / "softmax-digits"
    code, out, _ = call("evaluate", run, "--which", "newest")
    assert [line.partition(":")[0] for line in out.splitlines()][:3] == ["seed 0", "seed 1", "mean of them"]
    assert "over the mean" in out
    code, out, _ = call("evaluate", run, "--which", "newest", "--json")
    found = json.loads(out)[0]
    code, out, _ = call("ensemble", run, "--which", "newest", "--json")
    rows = {row["run"]: row for row in json.loads(out)}
    assert list(rows) == ["seed 0", "seed 1", "mean of them", "ensemble", "without averages of parameters"]
    assert rows["ensemble"]["accuracy"] == pytest.approx(found["accuracy"])
    assert rows["seed 1"]["loss"] == pytest.approx(found["members"][1]["loss"], rel=1e-5)
    assert rows["ensemble"]["over_mean"] == pytest.approx(found["over_mean"])
    code, out, _ = call("ensemble", run)
    assert (code, "points" in out, "over the last" in out) == (0, True, False)


def test_snapshots_are_averaged_and_seen_in_several_ways(call, tmp_path):
    code, _, err = call(*RUN, "--schedule", "warm_restarts", "--snapshots", "2", "--epochs", "3", "--runs", tmp_path)
    assert (code, err) == (0, "")
    run = tmp_path / "softmax-digits"
    code, out, _ = call("ensemble", run)
    assert (code, "step 4 " in out, "step 12 " in out, "over the last" in out) == (0, True, True, True)
    code, out, _ = call("evaluate", run, "--views", "multi_scale", "--scales", "1", "1.25", "--json")
    found = json.loads(out)[0]
    assert (code, found["views"], len(found["members"])) == (0, "multi_scale", 2)
    code, out, _ = call("evaluate", run, "--views", "flip")
    assert (code, "best checkpoint (step 12), flip: loss" in out, "over the last" in out) == (0, True, True)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("evaluate", "x", "--views", "ten_crops"), 'Did you mean "ten_crop"?'),
        (("evaluate", "x", "--views", "flip", "--margin", "2"), "--views five_crop or ten_crop with --margin"),
        (("predict", "x", "y.png", "--scales", "1"), "--views multi_scale with --scales; got views=None"),
        (("train", "--members", "0"), "at least one member; got members=0"),
        (("train", "--members", "2", "--model", "svm"), "a model that gives probabilities"),
        (("train", "--snapshots", "2"), "the schedule warm_restarts"),
    ],
)
def test_a_mistake_is_one_line(call, tokens, said):
    code, _, err = call(*tokens)
    assert (code, said in err, len(err.strip().splitlines())) == (2, True, 1), err
