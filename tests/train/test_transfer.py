"""Training that begins with the weights of another run, and what is read off a run's layers."""

import json
import re
import shutil
from dataclasses import replace

import chex
import jax
import numpy as np
import pytest

from jax231.core import tree
from jax231.core.unoptimized import jit_unoptimized
from jax231.models import zoo
from jax231.train import network, step
from jax231.train.config import from_toml
from jax231.train.loop import train
from jax231.train.run import open_run
from jax231.train.transfer import TransferError, best_member, features, given, initial, merged, of_classes
from tests import runs


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer") / "source"
    train(runs.config(), folder, splits=runs.images(), chunk=5)
    return folder


class Told:
    def __init__(self):
        self.notes = []

    def begin(self, config, **facts):
        pass

    def chunk(self, record):
        pass

    def epoch(self, record):
        pass

    def note(self, text):
        self.notes.append(text)


def data_of(classes):
    made = runs.images(classes=classes)
    return made.shape, made.classes


def test_the_body_is_taken_and_stands_still_and_the_head_is_new(source, tmp_path):
    """Four classes instead of three."""
    told = Told()
    config = runs.config(initial=str(source), freeze=("hidden/*",), epochs=1)
    result = train(config, tmp_path / "run", splits=runs.images(classes=4), watcher=told, chunk=5)
    before = open_run(source).params
    np.testing.assert_array_equal(result.train.params["hidden"]["kernel"], before["hidden"]["kernel"])
    assert result.train.params["scores"]["kernel"].shape[1] == 4
    assert told.notes == ["Made anew for other classes: scores."]


def test_the_same_classes_keep_the_head_and_factors_slow_it_down(source, tmp_path):
    config = runs.config(initial=str(source), factors={"scores/*": 0.0}, epochs=1)
    result = train(config, tmp_path / "run", splits=runs.images(), chunk=5)
    before = open_run(source, "newest").params
    np.testing.assert_array_equal(result.train.params["scores"]["kernel"], before["scores"]["kernel"])
    assert not np.array_equal(result.train.params["hidden"]["kernel"], before["hidden"]["kernel"])


def test_as_many_classes_of_other_names_make_the_head_anew(source, tmp_path):
    """With what the seed gives a head; rates of zero leave it so."""
    told = Told()
    config = runs.config(initial=str(source), factors={"*": 0.0}, epochs=1)
    other = runs.images()._replace(classes=("shirt", "shoe", "bag"))
    found = train(config, tmp_path / "run", splits=other, watcher=told, chunk=5).train.params
    fresh = train(runs.config(factors={"*": 0.0}, epochs=1), tmp_path / "fresh", splits=other, chunk=5).train.params
    np.testing.assert_array_equal(found["hidden"]["kernel"], open_run(source).params["hidden"]["kernel"])
    chex.assert_trees_all_close(found["scores"], fresh["scores"])
    assert told.notes == ["Made anew for other classes: scores."]


@pytest.mark.parametrize(
    ("model", "shape", "head"),
    [
        ("softmax", (4, 4, 1), {"scores/kernel", "scores/bias"}),
        ("mlp_batch_norm", (4, 4, 1), {"scores/kernel", "scores/bias"}),
        ("char_rnn", (6,), {"scores/kernel", "scores/bias", "recurrent/layers/00/wx"}),
    ],
)
def test_what_depends_on_the_classes(model, shape, head):
    assert of_classes(runs.config(model=model), shape, 3) == head


def test_factors_scale_the_step(tmp_path):
    """After one step of plain SGD."""
    one = {"optimizer": "sgd", "epochs": 1, "batch": 0}
    whole, half = (
        train(runs.config(**one, factors=factors), tmp_path / name, splits=runs.images(), chunk=1).train.params
        for name, factors in (("a", {}), ("b", {"*/bias": 0.5, "*": 1.0}))
    )
    np.testing.assert_allclose(half["scores"]["bias"], whole["scores"]["bias"] / 2, rtol=1e-5)
    np.testing.assert_allclose(half["scores"]["kernel"], whole["scores"]["kernel"], rtol=1e-6)


@pytest.mark.parametrize("choice", [{"freeze": ("hidden/*", "hiden/*")}, {"factors": {"hiden/*": 0.1}}])
def test_a_pattern_that_fits_no_parameter_is_refused_before_there_is_a_folder(tmp_path, choice):
    said = r"that fit a parameter of two_layer; got fit_none=\['hiden/\*'\], names=\['hidden/bias', 'hidden/kernel'"
    with pytest.raises(ValueError, match=said):
        train(runs.config(**choice), tmp_path / "run", splits=runs.images())
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The folder of a run of two seeds, whose records say that the second is the better one."""
    folder = tmp_path_factory.mktemp("transfer") / "several"
    train(runs.config(members=2, epochs=2), folder, splits=runs.images(), chunk=5)
    path = folder / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if record["kind"] == "epoch":
            record["validation_accuracy_members"] = [0.25, 0.5]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_the_best_of_several_is_taken_or_the_one_that_is_asked_for(several, tmp_path):
    seconds, facts = open_run(several).members[1].params, {"splits": runs.images(), "chunk": 5}
    still = runs.config(initial=str(several), factors={"*": 0.0}, epochs=1)
    told = Told()
    result = train(still, tmp_path / "best", watcher=told, **facts)
    chex.assert_trees_all_equal(result.train.params, seconds)
    (note,) = told.notes
    assert re.match(r"The best of 2 by validation is taken: seed 1, accuracy 0\.5 at the end of epoch [12]\.", note)
    asked = replace(still, initial_member=0)
    own, _ = initial(asked, step.assemble(asked, runs.images()).network, *data_of(3))
    chex.assert_trees_all_equal(own, open_run(several).members[0].params)
    assert from_toml(tmp_path / "best" / "config.toml") == still


def test_as_many_start_each_from_its_own(several):
    """Those of other classes have a body each and new heads that differ; all of one network have the same body."""
    told, from_them = Told(), runs.config(initial=str(several), members=2)
    net = step.assemble(from_them, runs.images(classes=4)).network
    params, _ = initial(from_them, net, *data_of(4), told.note)
    bodies = [member.params["hidden"]["kernel"] for member in open_run(several).members]
    np.testing.assert_array_equal(params["hidden"]["kernel"], bodies)
    heads = params["scores"]["kernel"]
    assert heads.shape == (2, 32, 4)
    assert not np.array_equal(heads[0], heads[1])
    own = f"Each member starts from another network of {several}: seed 0; seed 1."
    assert told.notes == [own, "Made anew for other classes: scores."]
    params, _ = initial(replace(from_them, initial_member=1), net, *data_of(4))
    np.testing.assert_array_equal(params["hidden"]["kernel"], [bodies[1]] * 2)


def test_the_best_is_that_of_the_epoch_in_which_it_was_taken(several):
    run = open_run(several)
    at = [run.members[0]._replace(step=at) for at in (3, 5, 10)]
    at += [one._replace(lane=1) for one in at]
    scores = [(5, [0.5, 0.7]), (10, [0.6, None])]
    records = [{"step": step, "epoch": step // 5, "validation_accuracy_members": each} for step, each in scores]
    assert best_member(run._replace(members=tuple(at)), records) == (4, "accuracy", 0.7, 1)
    assert best_member(run._replace(members=tuple(at[:3])), records) == (2, "accuracy", 0.6, 2)
    assert best_member(run._replace(members=tuple(at[:1])), records) is None
    snapshots = [record | {"validation_accuracy_members": None, "validation_accuracy": 0.1} for record in records]
    assert best_member(run._replace(members=tuple(at[:3])), snapshots) == (1, "accuracy", 0.1, 1)
    of_text = [{"step": 5, "epoch": 1, "validation_loss_members": [2.5, 1.5]}]
    writer = run.network._replace(entry=zoo.entry("char_rnn"))
    assert best_member(run._replace(members=tuple(at), network=writer), of_text) == (4, "loss", 1.5, 1)


def test_what_cannot_be_taken_of_several_is_said_before_there_is_a_folder(several, source, tmp_path):
    three = runs.config(initial=str(several), members=3)
    with pytest.raises(
        ValueError, match=r"--member for one of the 2 networks of .*, or as many members; got members=3"
    ):
        train(three, tmp_path / "run", splits=runs.images())
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"a member within \[0, 2\); got member=2"):
        given(replace(three, initial_member=2))
    with pytest.raises(
        ValueError, match="a run in --from with --member, which is 0 or more; got member=1, initial=None"
    ):
        runs.config(initial_member=1)
    (tmp_path / "weights.npz").touch()
    with pytest.raises(ValueError, match="a run in --from with --member; got member=0"):
        given(replace(three, initial=str(tmp_path / "weights.npz"), initial_member=0))
    unscored = tmp_path / "unscored"
    shutil.copytree(several, unscored)
    (unscored / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match=r"for one of the 2 networks of .*; got none, and no score of theirs"):
        given(replace(three, initial=str(unscored), members=1))
    alone = replace(three, initial=str(source), members=2)
    assert len(given(alone).weights) == 2


def test_another_model_is_refused_by_the_names_that_differ(source):
    given = open_run(source).params
    with pytest.raises(
        TransferError, match=r"expected weights of this model; got missing: conv/kernel; unknown: hidden"
    ):
        merged({"conv": {"kernel": np.zeros(3)}, "scores": given["scores"]}, given, "x")
    wide = jax.tree.map(lambda x: x, given)
    wide["scores"] = {"kernel": np.zeros((7, 3)), "bias": np.zeros(3)}
    with pytest.raises(TransferError, match=r"of another shape: scores/kernel \(32, 3\) instead of \(7, 3\)"):
        merged(wide, given, "x")
    assert tree.names(merged(given, given, "x")) == tree.names(given)


def test_what_cannot_have_factors():
    with pytest.raises(ValueError, match="no factors for lbfgs"):
        runs.config(optimizer="lbfgs", factors={"*": 0.1})
    with pytest.raises(ValueError, match="finite factors of at least 0"):
        runs.config(factors={"*": -1.0})


def test_features_are_what_a_layer_gives(source):
    run, images = open_run(source), runs.images().test.inputs
    found = features(run, images, "hidden", batch=4)
    mean, scale = (np.asarray(x, np.float32) for x in run.stats[1:3])
    x = ((images - mean) / scale).reshape(len(images), -1)
    expected = x @ np.asarray(run.params["hidden"]["kernel"]) + np.asarray(run.params["hidden"]["bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"a layer among hidden, scores.*got layer='hiden'"):
        features(run, images, "hiden")


def test_frozen_batch_norm_keeps_its_statistics():
    for freeze, same in ((("hidden*",), True), (("hidden*/kernel",), False)):
        net = network.build(runs.config(model="mlp_batch_norm", arguments={"widths": [4]}, freeze=freeze), (4, 4, 1), 3)
        params, state = jit_unoptimized(net.model.init)(jax.random.key(0))
        images = jax.random.normal(jax.random.key(1), (6, 4, 4, 1))
        after = jax.jit(lambda p, s, x, net=net: net.model.apply(p, s, x, train=True, key=jax.random.key(2))[1])(
            params, state, images
        )
        assert all(map(np.array_equal, jax.tree.leaves(after), jax.tree.leaves(state))) is same
