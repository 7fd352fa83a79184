"""The bench's own bookkeeping, at a size that takes no time; what it measures is never tested."""

import bench_fusions
import jax
import jax.numpy as jnp
import numpy as np
from bench_fusions import Case, Config, measured, table, with_gradient


def test_a_case_is_measured_beside_its_other_forms_and_parts():
    case = Case("tiny", jnp.tanh, (jnp.ones((8, 8)),), 2, 3, others={"same": jnp.tanh}, parts={"exp": jnp.exp})
    rows = measured(case, Config(repeats=3, budget=0.0))
    assert [(row.form, row.name) for row in rows] == [
        ("forward", "jax231"), ("gradient", "jax231"), ("forward", "same"), ("gradient", "same"), ("forward", "exp"),
    ]  # fmt: skip
    forward, gradient = rows[:2]
    assert np.isclose(forward.share, forward.copy_milliseconds / forward.milliseconds)
    assert np.isclose(gradient.share, 5 / 2 * gradient.copy_milliseconds / gradient.milliseconds)
    assert rows[2].share is None

    facts = {"device": {"cpu": "cpu", "cores": 2}, "versions": {"jax": "0"}}
    assert table(rows, facts).count("\n| tiny |") == 2


def test_the_gradient_is_that_of_half_the_squares():
    x = jnp.arange(4.0)
    value, (slope,) = with_gradient(jnp.sin)(x)
    np.testing.assert_allclose(slope, jax.grad(lambda x: jnp.square(jnp.sin(x)).sum() / 2)(x), rtol=1e-6)
    np.testing.assert_allclose(value, jnp.sin(x), rtol=1e-6)


def test_every_case_runs():
    for case in bench_fusions.cases():
        for call in (case.call, *case.others.values(), *case.parts.values()):
            assert jax.eval_shape(call, *case.arrays).shape
