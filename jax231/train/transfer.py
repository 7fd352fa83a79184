"""Transfer: training that begins with what another run, or somebody else's network, has learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.models import pretrained
from jax231.nn.bridge import watched_apply
from jax231.nn.layer import Layer
from jax231.train import network as networks
from jax231.train.config import Config
from jax231.train.feed import preprocessed
from jax231.train.network import Network
from jax231.train.run import Run, open_run

MOST = 5
"""Names that an error lists."""

Say = Callable[[str], None]


class TransferError(ValueError):
    """Weights that do not fit the model."""


def initial(
    config: Config, network: Network, shape: tuple[int, ...], classes: tuple[str, ...], say: Say = lambda text: None
) -> tuple[PyTree, PyTree]:
    """Parameters and state to start from: those of the run or the file that `config` names, the head for its classes.

    `shape` and `classes` are those of the data. A run whose classes have other names leaves its head, however many they
    are; a file of weights has no names, and its head is left where the number differs. ``say(text)`` is told what is
    made anew.

    Raises: FolderError, CheckpointError and OSError for what cannot be read; TransferError for another model.
    """
    source = Path(config.initial or "")
    key, _ = jax.random.split(jax.random.key(config.seed))
    fresh = network.model.init(key)
    leave = frozenset[str]()
    if source.is_file():
        given = pretrained.load(config.model, source)
    else:
        run = open_run(source, say=say)
        given = run.params, run.state
        if run.classes != classes and len(run.classes) == len(classes):
            leave = of_classes(config, shape, len(classes))
    params, state = (merged(mine, theirs, str(source), say, leave) for mine, theirs in zip(fresh, given, strict=True))
    return params, state


def of_classes(config: Config, shape: tuple[int, ...], classes: int) -> frozenset[str]:
    """The names of the parameters and states of a model whose shapes depend on the number of classes."""
    few, more = (
        jax.eval_shape(networks.build(config, shape, count).model.init, jax.random.key(0))
        for count in (classes, classes + 1)
    )
    return frozenset(
        name
        for a, b in zip(few, more, strict=True)
        for name, x, y in zip(tree.names(a), jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        if x.shape != y.shape
    )


def merged(
    fresh: PyTree, given: PyTree, source: str, say: Say = lambda text: None, leave: frozenset[str] = frozenset()
) -> PyTree:
    """`given` in the place of `fresh`, but for leaves that differ in their last axis only: the head of other classes.

    Those whose names are in `leave` stay fresh as well.

    Raises: TransferError naming what is missing, unknown or of another shape.
    """
    found = dict(zip(tree.names(given), jax.tree.leaves(given), strict=True))
    names = tree.names(fresh)
    leaves = jax.tree.leaves(fresh)
    anew = [
        name for name, x in zip(names, leaves, strict=True)
        if name in found and found[name].shape[:-1] == x.shape[:-1] and (name in leave or found[name].shape != x.shape)
    ]  # fmt: skip
    heads = {name.rpartition("/")[0] for name in anew}
    shaped = [
        f"{name} {found[name].shape} instead of {x.shape}" for name, x in zip(names, leaves, strict=True)
        if name in found and name not in anew and found[name].shape != x.shape
    ]  # fmt: skip
    differs = {
        "missing": [name for name in names if name not in found],
        "unknown": [name for name in found if name not in names],
        "of another shape": shaped,
    }
    if any(differs.values()):
        seen = "; ".join(f"{kind}: {_some(which)}" for kind, which in differs.items() if which)
        raise TransferError(f"{source}: expected weights of this model; got {seen}")
    if heads:
        say(f"Made anew for other classes: {', '.join(sorted(heads))}.")
    taken = [
        jnp.asarray(found[name], x.dtype) if name not in anew else x for name, x in zip(names, leaves, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(fresh), taken)


def features(run: Run, images: Num[np.ndarray, "n h w c"], layer: str, *, batch: int = 256) -> Float[np.ndarray, "n d"]:
    """What `layer` of a run's model makes of images, flattened: the input of a classifier of one's own.

    Raises: ValueError for a layer that the model does not have, with the names of those it has.
    """
    plain, apply = preprocessed(run.stats), watched_apply(run.network.constructor)

    @jax.jit
    def some(params: PyTree, state: PyTree, images: Array) -> Array:
        found: dict[str, Array] = {}

        def watch(name: str, layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            del layer, given
            found[name] = jax.tree.leaves(output)[-1]
            return output

        apply(watch, params, state, plain(images), train=False, key=None)
        require(layer in found, "features", f"a layer among {', '.join(found)}", layer=layer)
        return found[layer].reshape(len(images), -1)

    parts = [np.asarray(some(run.params, run.state, images[i : i + batch])) for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
