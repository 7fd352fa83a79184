import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.curvature import check_gradient, gradcheck
from jax231.curvature.gradcheck import GradientReport


@jax.custom_jvp
def planted(x):
    """tanh with a derivative that is 2 % too large."""
    return jnp.tanh(x)


planted.defjvp(lambda primals, tangents: (planted(*primals), 1.02 * (1 - jnp.tanh(*primals) ** 2) * tangents[0]))


def network(params, x, y, nonlinearity=jnp.tanh):
    h = nonlinearity(x @ params["first"]["weight"] + params["first"]["bias"])
    logits = h @ params["second"]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * y, -1))


def problem(hidden=7, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "first": {
            "weight": 0.5 * jax.random.normal(keys[0], (5, hidden), dtype),
            "bias": 0.1 * jax.random.normal(keys[1], (hidden,), dtype),
        },
        "second": 0.5 * jax.random.normal(keys[2], (hidden, 3), dtype),
    }
    return params, jax.random.normal(keys[3], (20, 5), dtype), jax.nn.one_hot(jnp.arange(20) % 3, 3, dtype=dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_right_gradient_passes_in_every_entry(dtype):
    report = gradcheck(network, *problem(dtype=dtype))
    assert report.passed
    assert report.relative_error < 1e-7
    assert report.checked == 5 * 7 + 7 + 7 * 3
    assert report.kinks == 0
    assert not jax.config.jax_enable_x64


@pytest.mark.usefixtures("x64")
def test_the_numbers_are_those_of_the_definition():
    """Against the same differences by hand; every entry is wrong by the same factor, so any may be the worst."""
    params, x, y = problem(dtype=jnp.float64)
    report = gradcheck(lambda *a: network(*a, planted), params, x, y)
    assert not report.passed
    assert report.name.startswith("first/")
    group, leaf = report.name.split("/")

    def moved(h):
        there = jax.tree.map(lambda p: p, params)
        there[group][leaf] = params[group][leaf].at[report.index].add(h)
        return network(there, x, y)

    numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
    np.testing.assert_allclose(report.numeric, numeric, rtol=1e-6)
    np.testing.assert_allclose(report.analytic, 1.02 * numeric, rtol=1e-6)
    np.testing.assert_allclose(report.relative_error, 1 - 1 / 1.02, rtol=1e-5)


def test_the_message_names_the_worst_entry():
    """Only one entry of one leaf has a wrong gradient."""

    @jax.custom_jvp
    def wrong(b):
        return b

    wrong.defjvp(lambda primals, tangents: (primals[0], tangents[0].at[3].multiply(2.0)))

    def loss(params):
        return jnp.sum(jnp.sin(wrong(params["layers"][1]["bias"]))) + jnp.sum(params["layers"][0] ** 2)

    params = {"layers": [jnp.ones((2, 2)), {"bias": jnp.zeros(5)}]}
    entry = r"layers/1/bias\[3\]: analytic 2, numeric 1, relative error 0.5 .*; 9 entries checked, 0 of them at kinks"
    with pytest.raises(ValueError, match=f"check_gradient: expected .*; got {entry}"):
        check_gradient(loss, params)
    report = gradcheck(loss, params)
    assert (report.name, report.index, report.checked, report.passed) == ("layers/1/bias", (3,), 9, False)


def test_large_arrays_are_sampled_and_every_leaf_is_seen():
    params, x, y = problem(hidden=300)
    report = check_gradient(network, params, x, y, samples=10)
    assert report.checked == 30
    assert report.passed
    wrong = gradcheck(lambda *a: network(*a, planted), params, x, y, samples=10)
    assert not wrong.passed
    assert wrong.name.startswith("first/")


def test_the_key_chooses_the_entries():
    params = jnp.arange(1.0, 1001.0)

    def loss(x):
        return jnp.sum(planted(x / 1000))

    first, again, other = (gradcheck(loss, params, key=jax.random.key(k), samples=5) for k in (1, 1, 2))
    assert first == again
    assert first.index != other.index
    assert first.name == ""
    assert str(first).startswith("params[")


def test_zero_gradients_agree():
    report = gradcheck(
        lambda p: jnp.sum(p["used"] ** 2) + 0 * p["unused"].sum(), {"used": jnp.zeros(3), "unused": jnp.ones(2)}
    )
    assert report.passed
    assert report.relative_error == 0


def test_an_entry_that_is_small_beside_the_rounding_of_the_value_does_not_fail():
    assert gradcheck(lambda p: 1e6 + jnp.sum(1e-6 * p**3), jnp.ones(4)).passed


def test_a_kink_within_the_step_is_counted_and_not_held_against_the_gradient():
    x = jnp.linspace(-1.0, 1.0, 20).at[7].set(3e-6)
    report = gradcheck(lambda x: jax.nn.relu(x).sum(), x)
    assert report.passed
    assert report.kinks == 1
    assert "1 of them at kinks" in str(report)
    assert gradcheck(lambda x: jax.nn.relu(x).sum(), x, step=1e-6).kinks == 0


def test_a_wrong_gradient_beside_kinks_is_found():
    @jax.custom_jvp
    def ramp(x):
        return jax.nn.relu(x)

    ramp.defjvp(lambda primals, tangents: (ramp(*primals), 1.5 * (primals[0] > 0) * tangents[0]))
    x = jnp.linspace(-1.0, 1.0, 20).at[7].set(-3e-6)
    report = gradcheck(lambda x: ramp(x).sum(), x)
    assert not report.passed
    assert report.kinks == 1
    assert report.index[0] >= 10
    np.testing.assert_allclose([report.analytic, report.numeric], [1.5, 1.0], rtol=1e-6)


def test_kinks_everywhere_are_no_evidence():
    """A function of float32 steps, or one rounded to a grid: nothing was checked."""
    assert not gradcheck(
        lambda x: x.astype(jnp.float32).astype(jnp.float64).sum() ** 2, jnp.linspace(1.0, 2.0, 9) / 3, step=1e-8
    ).passed


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_gradient_that_is_no_number_is_the_worst(bad):
    @jax.custom_jvp
    def broken(x):
        return x

    broken.defjvp(lambda primals, tangents: (primals[0], tangents[0].at[2].multiply(bad)))
    report = gradcheck(lambda x: jnp.sum(broken(x) ** 2), jnp.ones(4))
    assert not report.passed
    assert report.index == (2,)
    assert report.relative_error == np.inf


def test_a_value_that_is_no_number_fails():
    for fun in (jnp.log, lambda x: jnp.exp(-1000 * x)):  # NaN, infinite
        report = gradcheck(lambda x, fun=fun: jnp.sum(fun(x)), jnp.array([1.0, -1.0]))
        assert not report.passed
        assert report.relative_error == np.inf


def test_numbers_and_integers_may_be_among_the_arguments():
    report = check_gradient(lambda w, x, n, key: (w * x[n]).sum() ** 2, 3.0, np.arange(4.0), 2, jax.random.key(0))
    assert isinstance(report, GradientReport)
    assert report.index == ()


@pytest.mark.parametrize(
    ("fun", "seen"),
    [
        (lambda x: (x.sum(), x), r"result=\("),
        (lambda x: x, r"result=\(3,\)"),
        (lambda x: x[:1], r"result=\(1,\)"),
        (jnp.argmax, r".*dtype=int64"),
    ],
    ids=["aux", "vector", "one-entry vector", "integer"],
)
def test_functions_that_are_not_one_number(fun, seen):
    with pytest.raises(
        ValueError, match=rf"gradcheck: expected a function that returns one real number, without aux; got {seen}"
    ):
        gradcheck(fun, jnp.ones(3))


def test_parameters_that_cannot_be_checked():
    with pytest.raises(ValueError, match=r"gradcheck: expected floating point numbers .*; got leaf='count', value=3"):
        gradcheck(lambda p: p["w"].sum(), {"w": jnp.ones(2), "count": 3})
    with pytest.raises(ValueError, match="expected parameters with at least one leaf"):
        gradcheck(lambda p: jnp.zeros(()), {})
    with pytest.raises(ValueError, match="not traced"):
        jax.jit(lambda x: gradcheck(jnp.sum, x).relative_error)(jnp.ones(3))
    with pytest.raises(ValueError, match=r"positive number of samples, step and rtol; got samples=0"):
        gradcheck(jnp.sum, jnp.ones(3), samples=0)
    with pytest.raises(ValueError, match="step=0"):
        gradcheck(jnp.sum, jnp.ones(3), step=0.0)
