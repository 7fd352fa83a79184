"""The configuration of a run: round trip through TOML, and what it refuses."""

import pytest

from jax231.train.config import Config, difference, from_toml, plain, to_toml


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(model="char_lstm", data="tiny_shakespeare", arguments={"hidden": 64, "kind": "lstm"}, clip=5.0),
        Config(arguments={"channels": [4, 8]}, options={"decay": 0.95}, augment=("flip", "pad_crop"), ema=1.0),
    ],
)
def test_a_round_trip_through_toml(tmp_path, config):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert from_toml(path) == config
    assert "None" not in path.read_text()


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"model": "lennet"}, "nearest: lenet"),
        ({"optimizer": "adm"}, "nearest: adam"),
        ({"optimizer": "kfac"}, "got kfac, which needs taps"),
        ({"rate": 0.0}, "a finite rate above 0; got rate=0.0"),
        ({"rate": float("nan")}, "a finite rate above 0"),
        ({"epochs": 0}, "at least one epoch"),
        ({"batch": 10, "accumulate": 3}, "parts of equal size; got batch=10, accumulate=3"),
        ({"decay": -1.0}, "decay of at least 0"),
        ({"smoothing": 1.0}, r"smoothing within \[0, 1\)"),
        ({"ema": 1.5}, r"ema within \[0, 1\]"),
        ({"clip": 0.0}, "clip above 0"),
        ({"optimizer": "lbfgs", "schedule": "cosine"}, "constant and no warmup for lbfgs"),
        ({"drops": (0.5, 1.0)}, r"drops within \(0, 1\)"),
        ({"validation": -1}, "validation of at least 0"),
    ],
)
def test_mistakes(choices, said):
    with pytest.raises(ValueError, match=said):
        Config(**choices)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[compare]\n", r"expected a table \[train\]"),
        ("[train]\nepoch = 3\n", "unknown=\\['epoch'\\]"),
        ("[train]\nepochs = 'many'\n", "Expected `int`, got `str`"),
        ("[train]\nrate = 0.0\n", "a finite rate above 0"),
        ("[train]\nschedule = 'cos'\n", "Invalid enum value 'cos'"),
        ("[train\n", "config.toml: "),
    ],
)
def test_a_file_with_a_mistake_is_named(tmp_path, text, said):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        from_toml(path)
    assert str(path) in str(caught.value)


def test_the_rate_left_out_is_the_middle_of_the_usual_range():
    assert Config(optimizer="adam").step_size == pytest.approx(0.0032)
    assert Config(optimizer="adam", rate=0.5).step_size == 0.5


def test_a_list_as_it_is_written_on_the_command_line():
    assert Config(arguments={"widths": "[64, 32]", "kind": "lstm"}).arguments == {"widths": [64, 32], "kind": "lstm"}


def test_differences():
    assert difference(Config(epochs=1), Config(epochs=2, seed=3)) == "epochs 1 -> 2; seed 0 -> 3"
    assert "clip" not in plain(Config())
