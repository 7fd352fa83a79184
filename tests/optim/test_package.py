import importlib.util
import operator
import subprocess
import sys

import pytest

import jax231.optim


def test_importing_the_folder_loads_no_jax():
    code = "import sys, jax231.optim; sys.exit(any(name in sys.modules for name in ('jax', 'numpy', 'optax')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", jax231.optim.__all__)
def test_every_file_it_names_is_there(name):
    assert importlib.util.find_spec(f"jax231.optim.{name}") is not None


def test_a_name_means_the_file_before_and_after_its_import():
    code = (
        "import jax231.optim; first = jax231.optim.sgd; from jax231.optim.sgd import sgd; import jax231.optim.sgd;"
        "assert first is jax231.optim.sgd and first.sgd is sgd"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'adamant'"):
        operator.attrgetter("adamant")(jax231.optim)
