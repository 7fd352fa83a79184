"""Each check of the doctor on a model that is well, and on one that has what it looks for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.core.types import Batch
from jax231.functional.losses import softmax_cross_entropy
from jax231.models import zoo
from jax231.optim.sgd import sgd
from jax231.train import activity, case, doctor, rate_range, sanity, splits
from jax231.train.config import Config
from tests import photos


def hits(scores, targets):
    return (jnp.argmax(scores, -1) == targets).astype(jnp.float32)


@pytest.fixture(scope="module")
def patient():
    """A two-layer net with weak first scores, on three classes that a line tells apart."""
    labels = jnp.arange(60) % 3
    means = 2 * jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    pool = Batch(means[labels] + 0.3 * jax.random.normal(jax.random.key(1), (60, 2, 2, 1)), labels)
    net = zoo.entry("two_layer").constructor((2, 2, 1), 3, hidden=8)
    found = case.of_model(net, softmax_cross_entropy, hits, float(np.log(3)), pool)
    weak = {**found.params, "scores": jax.tree.map(lambda x: 0.1 * x, found.params["scores"])}
    return found._replace(params=weak)


def scaled(patient, layer, factor, shift=0.0):
    other = {"kernel": factor * patient.params[layer]["kernel"], "bias": patient.params[layer]["bias"] + shift}
    return patient._replace(params={**patient.params, layer: other})


def test_initial_loss(patient):
    assert sanity.initial_loss(patient).verdict == "ok"
    loud = sanity.initial_loss(scaled(patient, "scores", 1000.0))
    assert loud.verdict == "failed"
    assert "smaller first weights" in loud.advice
    low = sanity.initial_loss(patient._replace(start=4.0))
    assert low.verdict == "failed"
    assert "below the loss of guessing" in low.advice


def test_an_initial_loss_that_is_not_finite_names_the_place(patient):
    spoilt = patient._replace(pool=patient.pool._replace(inputs=patient.pool.inputs.at[3].set(jnp.nan)))
    assert sanity.initial_loss(spoilt).found == "nan: first not finite: inputs"


def test_regularization(patient):
    check = sanity.regularization(patient)
    assert check.verdict == "ok"
    squares = sum(float(jnp.sum(layer["kernel"] ** 2)) for layer in patient.params.values())
    first, _, last = check.numbers["losses"]
    np.testing.assert_allclose(last - first, squares / 2, rtol=1e-5)
    empty = scaled(scaled(patient, "scores", 0.0), "hidden", 0.0)
    assert sanity.regularization(empty).verdict == "failed"


def test_overfits_what_can_be_learnt_only(patient):
    check = sanity.overfits(patient, steps=100)
    assert check.verdict == "ok"
    assert (check.numbers["examples"], check.numbers["accuracy"]) == (20, 1.0)
    contradictory = patient._replace(pool=patient.pool._replace(inputs=jnp.ones((60, 2, 2, 1))))
    check = sanity.overfits(contradictory, steps=5, rates=(1e-3,))
    assert check.verdict == "failed"
    assert check.numbers["accuracy"] < 0.5


def test_gradient(patient):
    assert sanity.gradient(patient).verdict == "ok"
    doubled = patient._replace(
        losses=lambda scores, targets: softmax_cross_entropy(2 * scores - jax.lax.stop_gradient(scores), targets)
    )
    check = sanity.gradient(doubled)
    assert check.verdict == "failed"
    assert check.numbers["relative_error"] == pytest.approx(0.5, rel=0.1)


def test_activations(patient):
    check = activity.activations(patient)
    assert check.verdict == "ok"
    hidden, scores = check.numbers["layers"]
    assert (hidden["name"], hidden["dead"], scores["name"]) == ("hidden", None, "scores")
    read = patient.pool.inputs.reshape(60, -1) @ patient.params["hidden"]["kernel"] + patient.params["hidden"]["bias"]
    np.testing.assert_allclose(hidden["std"], np.std(read), rtol=1e-5)
    np.testing.assert_allclose(scores["zeros"], np.mean(np.asarray(read) <= 0), rtol=1e-5)
    dead = activity.activations(scaled(patient, "hidden", 1.0, shift=-1000.0))
    assert dead.verdict == "failed"
    assert "never fires" in dead.advice


def test_saturated_units_are_seen(patient):
    tanh = zoo.entry("two_layer_tanh").constructor((2, 2, 1), 3, hidden=8)
    check = activity.activations(scaled(patient._replace(constructor=tanh), "hidden", 1000.0))
    assert check.verdict == "failed"
    assert "saturated" in check.advice


def test_update_ratio_is_its_definition(patient):
    check = activity.update_ratio(patient, sgd, 0.01, steps=1, batch=60)
    slope = jax.grad(patient.loss)(patient.params, patient.state, patient.pool)
    for name, grad, weight in zip(tree.names(slope), *map(jax.tree.leaves, (slope, patient.params)), strict=True):
        if name.endswith("kernel"):
            expected = 0.01 * np.linalg.norm(grad) / np.linalg.norm(weight)
            assert check.numbers["ratios"][name] == pytest.approx(expected, rel=1e-4)


def test_the_range_test_ends_where_the_loss_explodes(patient):
    rates = np.geomspace(1e-4, 1e4, 40)
    wrong = patient.pool.targets.at[::4].add(1) % 3  # what cannot be learnt does not come to rest
    patient = patient._replace(pool=patient.pool._replace(targets=wrong))
    losses = rate_range.losses_over_rates(patient, sgd, rates, batch=30)
    found = rate_range.read(rates, losses)
    assert losses.shape == (41,)
    assert np.isnan(losses[-1])
    assert found.exploded is not None
    assert 1e-4 < found.suggested <= found.fastest < found.exploded
    assert found.lowest < 0.9 * found.first


def test_what_curves_say():
    rates = np.geomspace(1e-4, 1e0, 41)
    fall = 2.3 - 1 / (1 + np.exp(-8 * (np.log10(rates) + 2)))  # steepest at 1e-2, no minimum inside
    found = rate_range.read(rates, np.append(2.3, fall))
    assert found.fastest == pytest.approx(1e-2, rel=0.3)
    assert found.at_edge
    assert found.exploded is None
    flat = rate_range.read(rates, np.full(42, 2.3))
    assert flat.lowest == 2.3
    broken = np.append([2.3, 2.2], np.full(40, np.nan))
    assert rate_range.read(rates, broken).exploded == pytest.approx(rates[1])
    with pytest.raises(ValueError, match=r"rate_range.read: expected at least 14 rates and a loss more"):
        rate_range.read(rates, fall)


def test_advice_puts_what_failed_first():
    done = [
        case.Check("a", "warning", "", {}, "mind a"),
        case.Check("b", "failed", "", {}, "mend b"),
        case.Check("rate range", "ok", "", {"suggested": 0.02}),
    ]
    first, second, last = doctor.advice(done)
    assert (first, second) == ("b: mend b", "a: mind a")
    assert "begin with a learning rate of about 0.02" in last


@pytest.mark.parametrize("crop", ["center", "random"])
def test_a_folder_without_its_damaged_images(tmp_path, crop):
    """In memory the next image stands in for a damaged one; of a stream, as random crops make it, it is left out."""
    photos.write(tmp_path, 60, side=8)
    photos.damage(tmp_path / "b" / "001.png")
    config = Config(model="softmax", data=str(tmp_path), size=6, crop=crop, corrupt="skip")
    found = case.of_config(config, 4096)
    count = len(splits.load(config, stream="auto").train.targets)
    assert found.pool.inputs.shape == (found.size, 6, 6, 3)
    assert count - found.size == (crop == "random")


def test_a_text_is_cut_into_windows(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 20)
    config = Config(model="char_rnn", data=str(path), length=6, arguments={"hidden": 4, "layers": 1})
    found = case.of_config(config, 10)
    np.testing.assert_array_equal(found.pool.inputs[1][:, 1:], found.pool.targets[:, :-1])
    assert found.size == 10
    assert sanity.initial_loss(found).verdict == "ok"
