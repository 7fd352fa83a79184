"""Names that are not there: which are suggested."""

import pytest

from jax231.core.lookup import hint, nearest
from jax231.models import zoo

FEW = ("flip", "five_crop", "ten_crop")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("fcn", ["fcn8s_vgg16", "fcn32s_vgg16", "fcn16s_vgg16"]),  # begins so
        ("lenett", ["lenet"]),  # looks so
        ("ResNet5", ["resnet50", "resnet56"]),
        ("xyz", []),
        ("", []),
    ],
)
def test_names_that_begin_so_come_before_those_that_look_so(name, near):
    found = nearest(name, zoo.NAMES)
    assert found[: len(near)] == near
    assert len(found) <= (3 if near else 0)


def test_where_none_is_near_a_long_list_is_not_printed():
    assert hint("xyz", zoo.NAMES, "jax231 models") == "none is near; `jax231 models` lists them"
    assert hint("xyz", FEW, "jax231 views") == "known: flip, five_crop, ten_crop"
    assert hint("fiv", FEW) == "nearest: five_crop"
