"""The configuration of a comparison: what it refuses, and that its choices are those of the tables."""

from typing import get_args

import pytest

from jax231.compare import problems
from jax231.compare.config import Config, DataName, OptimizerName, ProblemName, require_comparable
from jax231.data import sources
from jax231.optim import catalog


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("problems", (), "at least one of problems"),
        ("optimizers", (), "at least one of optimizers"),
        ("problems", ("svm", "softmax", "svm"), "each of problems once"),
        ("optimizers", ("adam", "adam"), "each of optimizers once"),
        ("problems", ("softmx",), "problems among softmax, svm"),
        ("optimizers", ("adam", "adm"), "optimizers among sgd, momentum"),
        ("data", "minst", "data among digits, mnist"),
        ("budget", 0, "a finite budget above zero"),
        ("budget", -1.0, "a finite budget above zero"),
        ("budget", float("inf"), "a finite budget above zero"),
        ("budget", float("nan"), "a finite budget above zero"),
        ("settings", 0, "at least one setting"),
        ("seeds", 0, "at least one seed"),
        ("batch_size", -1, "a batch size of 0"),
        ("examples", 19, "20 examples or more"),
    ],
)
def test_a_bad_value_is_named(field, value, expected):
    config = Config()
    object.__setattr__(config, field, value)  # a constructor under type checks refuses some of these before us
    with pytest.raises(ValueError, match=rf"^compare: expected {expected}.*; got {field}="):
        config.__post_init__()


def test_the_smallest_values_are_taken():
    config = Config(
        problems=("svm",), optimizers=("newton",), budget=1e-3, settings=1, seeds=1, batch_size=0, examples=20
    )
    assert config.tuning_seeds == (0,)
    assert config.fresh_seeds == (1,)


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_tuning_and_fresh_seeds_are_disjoint_and_as_many(seeds):
    config = Config(seeds=seeds)
    assert len(set(config.tuning_seeds + config.fresh_seeds)) == 2 * seeds
    assert len(config.tuning_seeds) == len(config.fresh_seeds) == seeds


def test_the_choices_are_the_tables():
    assert get_args(ProblemName) == problems.NAMES
    assert set(get_args(OptimizerName)) < set(catalog.NAMES)
    classified = [name for name in sources.NAMES if name not in ("tiny_shakespeare", "nuclei")]  # a text, masks
    assert get_args(DataName) == tuple(classified)


@pytest.mark.parametrize(("name", "needs"), [("kfac", "taps"), ("levenberg_marquardt", "residuals")])
def test_an_optimizer_that_needs_more_is_refused_with_what_it_needs(name, needs):
    expected = rf"^compare: expected optimizers that .*\(sgd, .*\); got {name}, which needs {needs} \(.*\)$"
    with pytest.raises(ValueError, match=expected):
        require_comparable(("sgd", name))
    require_comparable(get_args(OptimizerName))


def test_a_choice_is_a_whole_that_compares_by_value():
    assert Config() == Config(budget=None)
    assert Config() != Config(budget=1.0)
    assert hash(Config(seeds=2)) == hash(Config(seeds=2))
