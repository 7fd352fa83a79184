"""The problems: one split for all, preprocessing from the training part alone, the loss that is stated."""

import chex
import jax
import numpy as np
import pytest

from jax231.compare import problems
from jax231.core import tree
from jax231.data import sources
from jax231.models import zoo


@pytest.fixture(scope="module")
def split():
    return problems.load("digits", examples=80)


def test_every_problem_is_a_model_of_the_zoo():
    for entry in problems.ENTRIES:
        assert zoo.entry(entry.name).name == entry.name
        assert entry.title
        assert entry.budget > 0
        assert entry.strength > 0


def test_an_unknown_problem_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"problems: expected a name of the table; got 'softmx' \(nearest: softmax"):
        problems.entry("softmx")


def test_more_examples_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"compare: expected at most the \d+ training examples of digits; got"):
        problems.load("digits", examples=5000)


def test_parts_are_disjoint_and_the_same_every_time(split):
    again = problems.load("digits", examples=80)
    chex.assert_trees_all_equal(split[:3], again[:3])
    rows = [{image.tobytes() for image in np.asarray(part.inputs)} for part in split[:3]]
    # two of the 1,797 images may be equal, but not many
    assert all(len(a & b) <= 1 for i, a in enumerate(rows) for b in rows[:i])
    assert len(split.train.targets) == 80
    assert (split.shape, split.classes) == ((8, 8, 1), 10)


def test_fewer_examples_are_the_first_of_all(split):
    whole = problems.load("digits")
    np.testing.assert_array_equal(whole.train.targets[:80], split.train.targets)
    np.testing.assert_array_equal(whole.test.targets, split.test.targets)


def test_preprocessing_is_fit_on_the_training_part(split):
    train = np.asarray(split.train.inputs, np.float64)
    np.testing.assert_allclose(train.mean(), 0.0, atol=1e-5)
    np.testing.assert_allclose(train.std(), 1.0, rtol=1e-3)
    assert abs(np.asarray(split.test.inputs).mean()) > 1e-4
    raw, _, test = sources.load("digits").split()
    pixels = raw.take(np.arange(80)).images.astype(np.float64)
    scaled = (test.images.astype(np.float64) - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(split.test.inputs, scaled, atol=1e-3)


@pytest.mark.parametrize("name", problems.NAMES)
def test_the_loss_at_the_start_is_near_what_is_stated(split, name):
    problem = problems.build(name, split)
    start = jax.jit(lambda key: problem.objective(problem.model.init(key)[0], split.train))(jax.random.key(0))
    assert problem.lower_bound <= start
    np.testing.assert_allclose(start, problem.expected_start, rtol=0.5)
    assert problem.budget == problems.entry(name).budget
    assert problem.examples == 80


def test_the_losses_of_the_examples_have_the_objective_as_their_mean(split):
    problem = problems.build("svm", split)
    params, _ = problem.model.init(jax.random.key(1))
    losses = problem.example_losses(problem.outputs(params, split.train), split.train)
    assert losses.shape == (80,)
    np.testing.assert_allclose(losses.mean(), problem.objective(params, split.train), rtol=1e-6)


def test_the_objective_is_the_stated_formula(split):
    problem = problems.build("softmax", split)
    params, _ = problem.model.init(jax.random.key(1))
    params = jax.tree.map(lambda x: x + 0.01, params)
    kernels = [x for x in jax.tree.leaves(params) if x.ndim > 1]
    assert tree.size(kernels) == 640
    outputs, _ = problem.model.apply(params, {}, split.train.inputs, train=True)
    scores, labels = np.asarray(outputs, np.float64), np.asarray(split.train.targets)
    data = np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(80), labels])
    penalty = 5e-4 * sum((np.asarray(kernel, np.float64) ** 2).sum() for kernel in kernels)
    np.testing.assert_allclose(problem.objective(params, split.train), data + penalty, rtol=1e-6)
    assert problem.formula == "mean softmax cross entropy + 0.0005 sum W^2"
