"""Training that begins with the weights of another run, and what is read off a run's layers."""

import chex
import jax
import numpy as np
import pytest

from jax231.core import tree
from jax231.train.loop import train
from jax231.train.run import open_run
from jax231.train.transfer import TransferError, features, merged, of_classes
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
