"""What `jax231.nn` offers by name."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import jax231.nn

FOLDER = Path(jax231.nn.__file__).parent


def test_importing_the_folder_loads_no_flax():
    code = "import sys, jax231.nn; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_layer_is_offered_and_every_file():
    files = [path for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    assert {path.stem for path in files} == set(jax231.nn.FILES)
    for path in files:
        defined = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
        module = importlib.import_module(f"jax231.nn.{path.stem}")
        layers = {name for name in defined if issubclass(getattr(module, name), jax231.nn.Layer) and name[0] != "_"}
        assert layers <= set(jax231.nn.FILES[path.stem]), path.name


@pytest.mark.parametrize("file", jax231.nn.FILES)
def test_a_name_is_what_its_file_defines(file):
    module = importlib.import_module(f"jax231.nn.{file}")
    assert getattr(jax231.nn, file) is module
    for name in jax231.nn.FILES[file]:
        assert getattr(jax231.nn, name) is getattr(module, name)
