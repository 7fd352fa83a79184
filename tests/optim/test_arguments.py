import pytest

from jax231.optim.arguments import required


def test_values_come_back_in_the_order_of_the_names():
    assert required("here", {"a": 1, "b": 2, "c": 3}, "c", "a") == (3, 1)


@pytest.mark.parametrize("given", [{"a": 1}, {"a": 1, "b": None}])
def test_what_is_missing_is_named_with_the_call_that_is_expected(given):
    expected = r"here: expected update\(grads, state, params, a=\.\.\., b=\.\.\.\); got missing=\['b'\]"
    with pytest.raises(ValueError, match=expected):
        required("here", given, "a", "b")
