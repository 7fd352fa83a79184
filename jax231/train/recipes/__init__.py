"""Recipes: configurations that are known to reach a result, each a TOML file of this folder.

Imports neither JAX nor Flax, so that the command line answers at once.
"""

from pathlib import Path

from jax231.core.checks import require
from jax231.core.lookup import hint
from jax231.train.config import Config, from_toml

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """All recipes, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def about(name: str) -> str:
    """What the recipe says of itself: its first line."""
    return _path(name).read_text().splitlines()[0].strip("# ")


def load(name: str) -> Config:
    """The configuration of a recipe.

    Raises: ValueError for a name that is not known, with the nearest.
    """
    return from_toml(_path(name))


def _path(name: str) -> Path:
    said = hint(name, names(), "jax231 recipes")
    require(name in names(), "recipe", f"a recipe ({said})", name=name)
    return FOLDER / f"{name}.toml"
