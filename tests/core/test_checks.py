import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.checks import (
    describe,
    is_concrete,
    require,
    require_floating,
    require_labels,
    require_nonnegative,
    require_rank,
    require_rate,
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.ones((2, 7)), "(2, 7)"),
        (jnp.ones(3), "(3,)"),
        (jax.ShapeDtypeStruct((2, 3), jnp.float32), "(2, 3)"),
        (np.float32(0.5), "0.5"),
        (jnp.array(3), "3"),
        ({"wx": jnp.ones(2), "b": 1}, "{'wx', 'b'}"),
        ("SAME", "'SAME'"),
        (None, "None"),
        ((1, 2), "(1, 2)"),
    ],
)
def test_values_as_a_caller_reads_them(value, words):
    assert describe(value) == words


def test_a_traced_number_has_a_shape_and_no_value():
    seen = []
    jax.jit(lambda x: seen.append((describe(x), is_concrete(x))) or x)(1.0)
    assert seen == [("()", False)]
    assert is_concrete(jnp.ones(2))
    assert is_concrete(1.0)


def test_require_says_where_what_and_what_was_seen():
    require(True, "maxout", "anything")
    with pytest.raises(ValueError, match=r"^maxout: expected pieces that divide it; got x=\(2, 7\), pieces=3$"):
        require(False, "maxout", "pieces that divide it", x=jnp.ones((2, 7)), pieces=3)


def test_require_speaks_while_tracing():
    with pytest.raises(ValueError, match=r"f: expected x with 2 axes \(n d\); got x=\(3,\)"):
        jax.jit(lambda x: require_rank("f", 2, "n d", x=x))(jnp.ones(3))


def test_rank():
    require_rank("f", 2, "n d", a=np.ones((1, 2)), b=[[1, 2]])
    require_rank("f", 0, "", step=0.5)
    with pytest.raises(ValueError, match=r"f: expected b with 1 axes \(n\); got b=\(1, 2\)"):
        require_rank("f", 1, "n", a=np.ones(3), b=np.ones((1, 2)))


def test_floating():
    require_floating("f", x=np.ones(2, np.float32), y=1.0, z=jnp.ones(2, jnp.bfloat16))
    with pytest.raises(ValueError, match=r"f: expected y of a floating type; got y=\(2,\), dtype='int32'"):
        require_floating("f", x=1.0, y=jnp.ones(2, int))


@pytest.mark.parametrize("rate", [0, 1.0, np.array([0.0, 0.5, 1.0])])
def test_rates_within(rate):
    require_rate("f", "rate", rate)


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.nan, np.array([0.5, 1.1])])
def test_rates_outside(rate):
    with pytest.raises(ValueError, match=r"f: expected rate within \[0, 1\]; got rate="):
        require_rate("f", "rate", rate)


def test_traced_values_are_left_alone():
    jax.jit(lambda x: require_rate("f", "rate", x))(2.0)
    jax.jit(lambda x: require_nonnegative("f", rate=x))(-2.0)
    jax.jit(lambda x: require_labels("f", x, 2))(jnp.array([5]))


def test_nonnegative():
    require_nonnegative("f", rate=0.0, decay=np.array([1, 2]), schedule=lambda step: -1)
    with pytest.raises(ValueError, match="f: expected decay of at least 0; got decay=-1"):
        require_nonnegative("f", rate=1, decay=-1)
    with pytest.raises(ValueError, match="rate of at least 0"):
        require_nonnegative("f", rate=np.nan)


@pytest.mark.parametrize("labels", [np.array([0, 2]), jnp.array([[2], [1]]), np.array([], int), np.uint8(2), 1])
def test_labels(labels):
    require_labels("f", labels, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 3]), r"labels within \[0, 3\); got smallest=0, largest=3"),
        (jnp.array([-1, 2]), r"labels within \[0, 3\); got smallest=-1, largest=2"),
        (np.array([0.0, 1.0]), r"labels of an integer type.*\(not one-hot\); got labels=\(2,\), dtype="),
        (np.array([True]), "labels of an integer type"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(ValueError, match=f"f: expected {message}"):
        require_labels("f", labels, 3)


def test_labels_are_looked_at_inside_jit_where_they_are_constants():
    labels = jnp.array([0, 3])
    with pytest.raises(ValueError, match="largest=3"):
        jax.jit(lambda x: require_labels("f", labels, 3) or x)(1.0)


def test_the_checks_themselves_load_without_jax():
    code = "import sys, jax231.core.checks as c; c.require_rate('f', 'rate', 0.5); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
