"""Weights of PyTorch's models in ours, and ours in PyTorch's: by torchvision's names, checked entry by entry."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax231.core import tree
from jax231.core.types import PyTree
from jax231.models import state_dict, torch_names, zoo
from jax231.models.torch_weights import Made, made

IGNORED = ("num_batches_tracked",)
"""What PyTorch counts beside the running statistics, and nothing of ours depends on."""

MOST = 6
"""Names of a kind in an error."""


def load(
    name: str,
    weights: str | Path | Mapping[str, ArrayLike],
    *,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    inside: str | None = None,
    **arguments: Any,
) -> tuple[PyTree, PyTree]:
    """Parameters and state of the zoo's model `name` with the weights of a file, or of a flat dict, in PyTorch's names.

    Names are torchvision's; those of recurrent networks are in `torch_names`. `shape`, `classes` and `arguments` are
    those of `Entry.build`, by default the entry's; `inside` is `state_dict.read`'s. Arrays are cast to the types that
    the model's own would have.

    Raises:  ValueError for weights of another model, which says what is missing, unknown and of another shape; for an
             unknown name; and as `state_dict.read`.
    """
    entry = zoo.entry(name)
    model = entry.build(shape or entry.shape, classes or entry.classes, **arguments)
    wanted = jax.eval_shape(model.init, jax.random.key(0))
    source = "the given weights" if isinstance(weights, Mapping) else str(weights)
    given = dict(weights) if isinstance(weights, Mapping) else state_dict.read(weights, inside=inside)
    given = torch_names.current(entry.architecture, given)
    given = {key: np.asarray(array) for key, array in given.items() if key.rsplit(".", 1)[-1] not in IGNORED}
    plan = list(_plan(entry.architecture, wanted))
    _require_fit(name, source, plan, given)
    arrays = [jnp.asarray(row.made.of(*(given[key] for key in row.keys)), row.dtype) for row in plan]
    params, state = jax.tree.unflatten(jax.tree.structure(wanted), arrays)
    return params, state


def to_state_dict(name: str, params: PyTree, state: PyTree) -> dict[str, np.ndarray]:
    """The weights of the zoo's model `name` as PyTorch's flat dict, which `load` reads and torchvision's model loads.

    ``{key: torch.from_numpy(array) for key, array in to_state_dict(...).items()}`` goes into `load_state_dict`.
    """
    values = map(np.asarray, jax.tree.leaves((params, state)))
    return {
        key: np.array(part, order="C")
        for row, array in zip(_plan(zoo.entry(name).architecture, (params, state)), values, strict=True)
        for key, part in zip(row.keys, row.made.back(array), strict=True)
    }


class _Row(NamedTuple):
    """A leaf of (params, state): PyTorch's names of what it is made of, and how."""

    keys: tuple[str, ...]
    made: Made
    dtype: Any


def _plan(architecture: str, arrays: tuple[PyTree, PyTree]) -> Iterator[_Row]:
    """A row for each leaf, in order."""
    named = [
        (path.rpartition("/"), leaf)
        for part in arrays
        for path, leaf in zip(tree.names(part), jax.tree.leaves(part), strict=True)
    ]
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for (layer, _, last), leaf in named:
        layers.setdefault(layer, {})[last] = leaf.shape
    places = torch_names.places(architecture, layers)
    for (layer, _, last), leaf in named:
        place = places[layer]
        how = made(layers[layer], last, place.channels)
        yield _Row(tuple(place.name.format(part) for part in how.names), how, leaf.dtype)


def _require_fit(name: str, source: str, plan: list[_Row], given: Mapping[str, np.ndarray]) -> None:
    expected = {key: shape for row in plan for key, shape in zip(row.keys, row.made.shapes, strict=True)}
    missing = [key for key in expected if key not in given]
    unknown = [key for key in given if key not in expected]
    shaped = [
        f"{key} {given[key].shape} instead of {shape}"
        for key, shape in expected.items()
        if key in given and given[key].shape != shape
    ]
    differs = {"missing": missing, "unknown": unknown, "of another shape": shaped}
    if any(differs.values()):
        seen = "; ".join(f"{kind}: {_some(names)}" for kind, names in differs.items() if names)
        raise ValueError(f"load: expected the weights of {name}; got {source}, {seen}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
