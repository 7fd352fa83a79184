"""The import table of the design, held by a walk over the syntax trees."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jax231"

EVERYWHERE = {"jax", "numpy", "jaxtyping"}
"""Allowed in every folder, with the standard library."""

TABLE = {
    # folder: (what of jax231 it may import, what of others)
    "core": ("", "msgspec"),
    "kernels": ("core", ""),
    "functional": ("core kernels", ""),
    "curvature": ("core", ""),
    "data": ("core", "sklearn PIL grain pooch msgspec"),
    "measure": ("core", "scipy msgspec psutil"),
    "search": ("core", "scipy msgspec"),
    "optim": ("core curvature", "optax"),
    "nn": ("core functional", "flax"),
    "models": ("core functional nn", "flax safetensors"),
    "train": (
        "core functional curvature data measure optim nn models search",
        "optax orbax msgspec tomli_w filelock tensorboardX cyclopts",
    ),
    "compare": (
        "core kernels functional curvature data measure search optim nn models train",
        "optax msgspec tomli_w psutil cyclopts",
    ),
    "bench": ("core kernels functional curvature data measure search optim nn models train", ""),
    "report": ("core measure", "plotly jinja2 matplotlib msgspec"),
    "__main__": ("cli", ""),
    "cli": (
        "core kernels functional curvature data measure search optim nn models train compare bench report",
        "msgspec rich cyclopts",
    ),
}

CYCLOPTS = {"config.py"}
"""The dataclasses of a configuration are a command's flags; the rest of compare and train knows no command line."""

VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def folder(path: Path) -> str:
    """The row of the table: ``jax231/optim/sgd.py`` and ``jax231/cli.py`` give "optim" and "cli"."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, at its top, inside a function or as `jax231.name`."""
    inside = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(inside[: -node.level]) + "." if node.level else ""
            yield from ((node.lineno, f"{start}{node.module or ''}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jax231":
            yield node.lineno, f"jax231.{node.attr}"  # loads on first use


def allowed(here: str, file: str, name: str) -> bool:
    own, others = (row.split() for row in TABLE[here])
    first, second = [*name.split("."), ""][:2]
    if first == "jax231":
        return second in {"", here, "__version__", *own}
    if first == "cyclopts" and here in {"compare", "train"}:
        return file in CYCLOPTS
    return first in sys.stdlib_module_names | EVERYWHERE or first in others


@pytest.mark.parametrize("path", [path for path in files() if path.parent != PACKAGE or path.stem != "__init__"],
                         ids=lambda path: str(path.relative_to(PACKAGE)))  # fmt: skip
def test_a_file_imports_what_its_folder_may(path):
    here = folder(path)
    assert here in TABLE, f"{here} has no row in the table"
    wrong = [f"line {line}: {name}" for line, name in imports(path) if not allowed(here, path.name, name)]
    assert not wrong, f"{path.relative_to(ROOT)} may not import {', '.join(wrong)}"


def test_the_package_itself_imports_only_what_loads_names_late():
    assert {name for _, name in imports(PACKAGE / "__init__.py")} == {"jax231.core.lazy.attach"}


def test_imports_point_down():
    """The table has no circle: every folder stands on folders that stand without it."""
    below = {here: set(own.split()) & set(TABLE) for here, (own, _) in TABLE.items()}
    while below:
        ground = {here for here, own in below.items() if not own & set(below)}
        assert ground, f"a circle among {sorted(below)}"
        below = {here: own for here, own in below.items() if here not in ground}


def test_the_walk_sees_what_it_should(tmp_path, monkeypatch):
    """A planted file of each kind of wrong import, and of right ones."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "jax231" / "optim" / "planted.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import os.path, jax.numpy as jnp, optax\n"
        "from jax231.core import tree\n"
        "from . import sgd\n"
        "def f():\n"
        "    import flax\n"
        "    from jax231.models.zoo import ZOO\n"
        "    from ..data import digits\n"
        "from jax231 import report\n"
        "import jax231\n"
        "version, study = jax231.__version__, jax231.compare\n"
    )
    wrong = {name for _, name in imports(path) if not allowed("optim", path.name, name)}
    assert wrong == {"flax", "jax231.models.zoo.ZOO", "jax231.data.digits", "jax231.report", "jax231.compare"}


def test_every_file_is_named_by_its_idea():
    assert not [str(path) for path in files() if VAGUE & {path.stem, path.parent.name}]


def test_every_folder_says_what_it_is():
    for here in sorted({path.parent for path in files()}):
        text = here / "__init__.py"
        assert text.exists(), f"{here} has no __init__.py"
        assert ast.get_docstring(ast.parse(text.read_text())), f"{text} has no docstring"
