"""What is found in a run, against plain loops over its examples."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.core.unoptimized import jit_unoptimized
from jax231.data import preprocess
from jax231.train import network as networks
from jax231.train import predict
from jax231.train.config import Config
from jax231.train.evaluate import laid_out, program, together
from jax231.train.inspect import first_layer, inspect, judge, learned_by, rates_of
from jax231.train.loop import train
from jax231.train.optimizer import rate
from jax231.train.run import Member, Run
from jax231.train.splits import Splits
from tests import runs


def masks(count: int = 6) -> Splits:
    """Images of 8x8 with a bright square, whose pixels are of class 1."""
    random = np.random.default_rng(0)
    labels = np.zeros((count, 8, 8), np.int32)
    for one, (top, left) in zip(labels, random.integers(0, 5, (count, 2)), strict=True):
        one[top : top + 4, left : left + 4] = 1
    pixels = (random.integers(0, 60, (count, 8, 8, 3)) + 150 * labels[..., None]).astype(np.uint8)
    part, stats = Batch(pixels, labels), preprocess.fit("per_channel", pixels)
    return Splits("made", part, part, None, (8, 8, 3), ("ground", "square"), stats, {})


CASES = {
    "two_layer": ({}, lambda: runs.images(other=11)),
    "encoder_decoder": ({"arguments": {"channels": [8]}}, masks),
    "char_rnn": ({"arguments": {"hidden": 8}, "length": 6}, runs.text),
    "softmax": ({"preprocess": "pca"}, lambda: refit(runs.images(), "pca")),
}


def refit(splits: Splits, name: str) -> Splits:
    return splits._replace(stats=preprocess.fit(name, splits.train.inputs))


@pytest.fixture(scope="module")
def drawn():
    """Models with parameters that were drawn and nothing learned, as runs, with their data."""
    made = {}

    def make(model: str) -> tuple[Run, Splits]:
        if model not in made:
            choices, data = CASES[model]
            config, splits = runs.config(model=model, **choices), data()
            network = networks.build(config, splits.shape, len(splits.classes))
            params, state = jit_unoptimized(network.model.init)(jax.random.key(0))
            params = jax.tree.map(lambda x: 3 * x, params)  # more decided
            facts = (splits.stats, splits.shape, splits.classes, 0)
            made[model] = Run(Path("none"), config, network, (Member("", params, state),), *facts), splits
        return made[model]

    return make


@pytest.fixture(scope="module")
def several(drawn):
    """Two networks of a model as a run: those of `drawn`, and its parameters turned around, each a little."""

    def make(model: str) -> tuple[Run, Splits]:
        run, splits = drawn(model)
        other = jax.tree.map(lambda x: x[::-1] * 0.8, run.params)
        return run._replace(members=(Member("one", run.params, run.state), Member("two", other, run.state))), splits

    return make


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("inspect") / "run"
    train(runs.config(epochs=1), folder, splits=runs.images(), chunk=5)
    return folder


def evaluated(run, splits, split):
    judge_all = program(run.config, run.network, splits)
    return judge_all(run.params, run.state, laid_out(run.config, splits, getattr(splits, split)))


def test_images_are_judged_as_one_by_one(drawn, monkeypatch):
    monkeypatch.setattr("jax231.train.inspect.BATCH", 4)  # 11 images: the last batch is filled up
    run, splits = drawn("two_layer")
    found = judge(run, splits, worst=5)
    apply = jax.jit(lambda image: run.model.apply(run.params, run.state, image, train=False)[0])
    matrix, losses, chances = np.zeros((3, 3), int), [], []
    for image, label in zip(*splits.test[:2], strict=True):
        scores = np.asarray(apply(jnp.asarray(preprocess.apply(run.stats, image[None]))))[0].astype(float)
        share = np.exp(scores) / np.exp(scores).sum()
        matrix[label, scores.argmax()] += 1
        losses.append(-math.log(share[label]))
        chances.append((share.max(), share[label]))
    assert (found.split, found.form, found.examples) == ("test", "images", 11)
    np.testing.assert_array_equal(found.confusion, matrix)
    assert found.loss == pytest.approx(np.mean(losses), abs=1e-6)
    assert found.white == splits.test.inputs.max()
    assert [one.place for one in found.worst] == np.argsort(losses)[::-1][:5].tolist()
    for one in found.worst:
        assert one.loss == pytest.approx(losses[one.place], abs=1e-5)
        assert (one.probability, one.believed) == pytest.approx(chances[one.place], abs=1e-6)
        np.testing.assert_array_equal(one.image, splits.test.inputs[one.place])
        assert one.truth == splits.test.targets[one.place]
    scores = evaluated(run, splits, "validation")
    held = judge(run, splits, "validation")
    assert (held.loss, held.accuracy) == pytest.approx(scores[:2], rel=1e-6)
    assert held.mean_iou is None


def test_several_are_judged_by_the_mean_of_their_probabilities(several, monkeypatch):
    """Against `predict.each` and plain counting."""
    monkeypatch.setattr("jax231.train.inspect.BATCH", 4)
    run, splits = several("two_layer")
    found, labels = judge(run, splits, worst=5), splits.test.targets
    each = predict.each(run, splits.test.inputs).astype(float)
    mean = each.mean(0)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (labels, mean.argmax(-1)), 1)
    np.testing.assert_array_equal(found.confusion, matrix)
    losses = -np.log(mean[np.arange(11), labels])
    assert found.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert [one.place for one in found.worst] == np.argsort(-losses)[:5].tolist()
    for one in found.worst:
        chances = mean[one.place]
        assert (one.probability, one.believed) == pytest.approx((chances.max(), chances[one.truth]), rel=1e-5)
    for one, name, own in zip(found.members, ("one", "two"), each, strict=True):
        alone = -np.log(own[np.arange(11), labels]).mean(), (own.argmax(-1) == labels).mean()
        assert one.name == name
        assert (one.loss, one.accuracy) == pytest.approx(alone, rel=1e-5)
    assert found.members[0].loss != found.members[1].loss
    assert found.mean.accuracy == pytest.approx((each.argmax(-1) == labels).mean())
    assert found.whole[1:] == (found.loss, found.accuracy, None)
    with pytest.raises(ValueError, match=r"several networks; got members=\(\)"):
        _ = judge(run.alone(0), splits).mean


@pytest.mark.parametrize("model", ["encoder_decoder", "char_rnn"])
def test_several_on_pixels_and_on_a_text_score_as_in_training(several, model):
    run, splits = several(model)
    found, part = judge(run, splits, worst=2), laid_out(run.config, splits, splits.validation)
    scores = together(run.config, run.network, splits)(*run.stacked(), part)
    for mine, theirs in zip((found.whole, *found.members), (scores.ensemble, *scores.members), strict=True):
        assert mine[1:3] == pytest.approx((theirs.loss, theirs.accuracy), rel=1e-5)
        assert (mine.mean_iou or 0) == pytest.approx(theirs.mean_iou or 0, rel=1e-5)
    assert found.loss < found.mean.loss
    np.testing.assert_array_equal(found.confusion.sum(1), judge(run.alone(0), splits).confusion.sum(1))
    shown = found.worst or found.surprises
    assert shown[0].loss >= shown[1].loss


def test_pixels_are_counted_by_class(drawn):
    run, splits = drawn("encoder_decoder")
    found, scores = judge(run, splits, worst=2), evaluated(run, splits, "validation")
    assert (found.split, found.form, found.confusion.sum()) == ("validation", "pixels", 6 * 64)
    got = (found.loss, found.accuracy, found.mean_iou)
    assert got == pytest.approx((scores.loss, scores.accuracy, scores.mean_iou), rel=1e-6)
    assert found.worst[0].loss >= found.worst[1].loss
    assert found.worst[0].predicted.shape == found.worst[0].truth.shape == (8, 8)
    assert found.worst[0].probability is None


def test_a_text_is_judged_character_by_character(drawn):
    run, splits = drawn("char_rnn")
    found, scores = judge(run, splits, worst=3), evaluated(run, splits, "validation")
    codes = splits.validation.inputs
    assert (found.form, found.examples) == ("characters", len(codes) - 1)
    assert (found.loss, found.accuracy) == pytest.approx((scores.loss, scores.accuracy), rel=1e-6)
    np.testing.assert_array_equal(found.confusion.sum(1), np.bincount(codes[1:], minlength=len(run.classes)))
    text = "".join(run.classes[code] for code in codes)
    for one in found.surprises:
        assert one.before + run.classes[one.truth] in text
        assert one.probability == pytest.approx(math.exp(-one.loss), rel=1e-5)


def test_what_a_text_model_learned(drawn):
    run, _ = drawn("char_rnn")
    found = learned_by(run)
    assert found.parameters == sum(x.size for x in jax.tree.leaves(run.params))
    assert found.start == pytest.approx(math.log(len(run.classes)))
    assert len(found.sample.text) == 600
    assert set(found.sample.text) <= set(run.classes)
    assert found.first is None


def test_the_whole_of_a_run(trained):
    found = inspect(trained, splits=runs.images(), worst=2, split="validation")
    assert found.notes == ()
    assert (found.learned.step, found.learned.which, found.learned.sample) == (5, "best", None)
    assert (found.judged.split, len(found.judged.worst)) == ("validation", 2)
    assert found.rates.rates.tolist() == [0.1] * 5


def test_data_that_only_a_script_knows(trained, drawn):
    found = inspect(trained)
    assert found.judged is None
    assert "data 'made' are known by the script" in found.notes[0]
    assert found.learned.first.kind == "unit"
    with pytest.raises(ValueError, match="0 or more worst examples"):
        inspect(trained, worst=-1)
    with pytest.raises(ValueError, match="a split that the data have; got split='test'"):
        judge(*drawn("char_rnn"), "test")


def test_a_run_without_a_checkpoint(trained, tmp_path):
    """As one that has just begun: its facts are there, its checkpoints not; and before its facts."""
    for name in ("config.toml", "data.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    found = inspect(tmp_path)
    assert (found.learned, found.judged) == (None, None)
    assert "expected a run with a checkpoint; got none yet" in found.notes[0]
    assert found.rates is not None
    (tmp_path / "data.json").unlink()
    assert inspect(tmp_path).notes == ("The run was stopped before its first step.",)


def test_the_first_layer_is_the_parameter_itself(drawn):
    run, _ = drawn("two_layer")
    first = first_layer(run)
    assert (first.name, first.kind) == ("hidden", "unit")
    kernel = np.asarray(run.params["hidden"]["kernel"])
    np.testing.assert_array_equal(first.kernel, kernel.reshape(4, 4, 1, -1))
    first = first_layer(drawn("encoder_decoder")[0])
    assert (first.kind, first.kernel.shape[2]) == ("filter", 3)


def test_the_first_layer_of_several_is_that_of_one(several):
    run, _ = several("two_layer")
    learned = learned_by(run, member=1)
    assert (learned.networks, learned.first.member) == (2, "two")
    np.testing.assert_array_equal(learned.first.kernel, first_layer(run.alone(1)).kernel)
    assert learned.parameters == sum(x.size for x in jax.tree.leaves(run.members[0].params))
    with pytest.raises(ValueError, match=r"a member within \[0, 2\); got member=2"):
        learned_by(run, member=2)


def test_rotated_preprocessing_is_turned_back(drawn):
    """The template of a class times an image is the score of the preprocessed image, but for its constant."""
    run, splits = drawn("softmax")
    first = first_layer(run)
    assert (first.kind, first.kernel.shape) == ("template", (4, 4, 1, 3))
    images = splits.test.inputs[:2]
    given = jnp.asarray(preprocess.apply(splits.stats, images))
    scores, _ = run.model.apply(run.params, run.state, given, train=False)
    expected = np.einsum("hwck,hwc->k", first.kernel, images[0].astype(float) - images[1])
    np.testing.assert_allclose(scores[0] - scores[1], expected, rtol=1e-5)


def test_rates_are_those_of_the_steps():
    config = Config(schedule="cosine", rate=0.2, epochs=2, warmup=1.0)
    found, schedule = rates_of(config, 2), rate(config, 2)
    np.testing.assert_array_equal(found.epochs, [0, 0.5, 1, 1.5])
    np.testing.assert_allclose(found.rates, [schedule(step) for step in range(4)], atol=1e-7)
    assert set(rates_of(Config(rate=0.2), 1000).rates) == {0.2}
    assert rates_of(Config(optimizer="newton_cg"), 5) is None
