"""Parameters chosen by their names, ``"conv1/kernel"``: part of a tree, and the part put back into the whole."""

import fnmatch
from collections.abc import Callable

import jax

from jax231.core import tree
from jax231.core.types import PyTree

Chosen = Callable[[str], bool]
"""Whether the parameter of a name is meant."""


def everything(name: str) -> bool:
    """Every parameter."""
    del name
    return True


def kernels(name: str) -> bool:
    """What multiplies inputs: the parameters called ``kernel`` or ``weight``, but no biases, scales and embeddings."""
    return name.rpartition("/")[-1] in ("kernel", "weight")


def matching(*patterns: str) -> Chosen:
    """Names that one of the shell patterns fits, as in ``matching("conv1/*", "*/bias")``; a ``*`` crosses slashes."""
    return lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def part(params: PyTree, chosen: Chosen) -> PyTree:
    """`params` with None, an empty tree, in the place of every leaf that is not chosen; the names stay the same."""
    return jax.tree_util.tree_map_with_path(lambda path, x: x if chosen(tree.name(path)) else None, params)


def whole(part: PyTree, rest: PyTree) -> PyTree:
    """`part` with its empty places filled from `rest`."""
    return jax.tree.map(lambda x, other: other if x is None else x, part, rest, is_leaf=lambda x: x is None)


def mask(chosen: Chosen) -> Callable[[PyTree], PyTree]:
    """`chosen` as Optax wants it: from a tree of parameters to a tree of booleans."""
    return lambda params: jax.tree_util.tree_map_with_path(lambda path, _: chosen(tree.name(path)), params)
