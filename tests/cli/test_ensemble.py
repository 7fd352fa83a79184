"""``jax231 ensemble`` and the others on a run of several members, and on one with snapshots."""

import json
import re

import numpy as np
import pytest

from jax231.data.digits import digits
from jax231.train import predict
from jax231.train.config import Config
from jax231.train.loop import train
from jax231.train.run import open_run
from tests import runs
from tests.compilations import kept_in

RUN = ["train", "--model", "softmax", "--examples", "64", "--batch", "16", "--rate", "0.1"]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


@pytest.fixture(scope="module")
def members(tmp_path_factory, compiled_once):
    """A run of two seeds."""
    config = Config(model="softmax", examples=64, batch=16, rate=0.1, members=2, epochs=2)
    folder = tmp_path_factory.mktemp("members") / "run"
    train(config, folder, chunk=4)
    return folder


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


def test_the_page_counts_the_mean_of_their_probabilities(call, members):
    code, _, err = call("report", members, "--member", "1")
    assert (code, err) == (0, "")
    text = (members / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    test, counts = digits().test, np.zeros((10, 10), int)
    each = predict.each(open_run(members), test.images)
    for label, chances in zip(test.labels, each.mean(0), strict=True):
        counts[label, chances.argmax()] += 1
    cells = re.findall(r'<td class="(?:hit|miss|zero)" style="[^"]*">([^<]*)</td>', text)
    assert [0 if cell == "·" else int(cell) for cell in cells] == counts.ravel().tolist()
    for i, chances in enumerate(each):
        right = (chances.argmax(-1) == test.labels).mean()
        assert re.search(f'<th scope="row">seed {i}</th><td>[0-9.]+</td><td>{100 * right:.2f} %</td>', text)
    assert "of the network of seed 1;" in text
    code, _, err = call("report", members, "--member", "2")
    assert (code, "a member within [0, 2); got member=2" in err) == (2, True)


def test_members_write_together_or_one_alone(call, tmp_path):
    (tmp_path / "corpus.txt").write_text(runs.TEXT)
    config = Config(
        model="char_rnn",
        data=str(tmp_path / "corpus.txt"),
        arguments={"hidden": 8, "layers": 1},
        length=6,
        batch=4,
        epochs=1,
        members=2,
    )
    train(config, tmp_path / "run", chunk=20)
    text = ("sample", tmp_path / "run", "--length", "30", "--prompt", "to ", "--temperature", "0.1")
    code, out, err = call(*text)
    assert (code, len(out), err) == (0, 34, "")
    assert call(*text, "--member", "1")[1] != out
    code, _, err = call(*text, "--member", "2")
    assert (code, "a member within [0, 2); got member=2" in err) == (2, True)
    code, _, err = call("report", tmp_path / "run")
    assert (code, err) == (0, "")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "drawn from the mean of the probabilities of all networks" in page
    assert '<th scope="row">seed 1</th>' in page


def test_one_of_several_is_what_another_run_starts_from(call, members, tmp_path):
    other = [*RUN, "--epochs", "1", "--runs", tmp_path]
    code, out, err = call(*other, "--name", "best", "--from", members)
    assert (code, err) == (0, "")
    assert "The best of 2 by validation is taken: seed " in out
    code, _, err = call(*other, "--name", "chosen", "--from", members, "--member", "1")
    assert (code, err) == (0, "")
    assert "initial_member = 1" in (tmp_path / "chosen" / "config.toml").read_text()
    code, out, err = call("train", "--resume", tmp_path / "chosen")
    assert (code, "Nothing is left to do." in out, err) == (0, True, "")
    code, _, err = call(*other, "--name", "three", "--from", members, "--members", "3")
    assert (code, f"--member for one of the 2 networks of {members}, or as many members" in err) == (2, True)
    assert not (tmp_path / "three").exists()


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
        (("train", "--member", "0"), "a run in --from with --member"),
        (("train", "--members", "0"), "at least one member; got members=0"),
        (("train", "--members", "2", "--model", "svm"), "a model that gives probabilities"),
        (("train", "--snapshots", "2"), "the schedule warm_restarts"),
    ],
)
def test_a_mistake_is_one_line(call, tokens, said):
    code, _, err = call(*tokens)
    assert (code, said in err, len(err.strip().splitlines())) == (2, True, 1), err
