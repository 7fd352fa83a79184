"""Transfer: training that begins with what another run, or somebody else's network, has learned."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import PyTree
from jax231.core.unoptimized import jit_unoptimized
from jax231.models import pretrained
from jax231.nn.bridge import watched_apply
from jax231.nn.layer import Layer
from jax231.train import log
from jax231.train import members as lanes
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


class Best(NamedTuple):
    """Which of several networks is the best by a measure on the validation split, and what it scored there."""

    member: int
    measure: str
    score: float
    epoch: int


class Given(NamedTuple):
    """Parameters and state that each member starts from, and the names of the classes that they know, if any."""

    weights: list[tuple[PyTree, PyTree]]
    classes: tuple[str, ...] | None


def initial(
    config: Config, network: Network, shape: tuple[int, ...], classes: tuple[str, ...], say: Say = lambda text: None
) -> tuple[PyTree, PyTree]:
    """Parameters and state to start from: those of the run or the file that `config` names, the head for its classes.

    `shape` and `classes` are those of the data. A run whose classes have other names leaves its head, however many they
    are; a file of weights has no names, and its head is left where the number differs. Those of several members have a
    first axis for them; a head that is made anew is another one for each. ``say(text)`` is told what is made anew, and
    what was taken of several.

    Raises: as `given`; TransferError for another model.
    """
    pairs, (weights, known), init = [], given(config, say), jit_unoptimized(network.model.init)
    renamed = known is not None and known != classes and len(known) == len(classes)
    leave = of_classes(config, shape, len(classes)) if renamed else frozenset[str]()
    for i, own in enumerate(weights):
        key, _ = jax.random.split(jax.random.key(lanes.single(config, i).seed))
        fresh, tell = init(key), say if i == 0 else lambda text: None
        pairs.append(tuple(merged(*both, str(config.initial), tell, leave) for both in zip(fresh, own, strict=True)))
    params, state = pairs[0] if config.members == 1 else jax.tree.map(lambda *x: jnp.stack(x), *pairs)
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


def given(config: Config, say: Say = lambda text: None) -> Given:
    """Parameters and state that each member of a run starts from.

    All start from one network: that of a file of weights or of a run, of a run of several the one that `config` asks
    for, else, where the new run has one member, the best. A run of as many members starts each from its own.

    Raises: FolderError, CheckpointError and OSError for what cannot be read; ValueError where it is not said which of
            several networks to take, for one that the run does not have, and for one of a file.
    """
    source, asked = Path(config.initial or ""), config.initial_member
    if source.is_file():
        require(asked is None, "train", "a run in --from with --member", member=asked, initial=str(source))
        return Given([pretrained.load(config.model, source)] * config.members, None)
    run = open_run(source, say=say)
    count = len(run.members)
    if asked is None and count == config.members > 1:
        say(f"Each member starts from another network of {source}: {'; '.join(member.name for member in run.members)}.")
        return Given([(member.params, member.state) for member in run.members], run.classes)
    if asked is not None:
        run = run.alone(asked)
    elif count > 1:
        which = f"--member for one of the {count} networks of {source}"
        require(config.members == 1, "train", f"{which}, or as many members", members=config.members)
        best = best_member(run, log.read(source))
        if best is None:
            raise ValueError(f"train: expected {which}; got none, and no score of theirs on a validation split")
        run = run.alone(best.member)
        scored = f"{best.measure.replace('_', ' ')} {best.score:.4g} at the end of epoch {best.epoch}"
        say(f"The best of {count} by validation is taken: {run.members[0].name}, {scored}.")
    return Given([(run.params, run.state)] * config.members, run.classes)


def best_member(run: Run, records: Sequence[Mapping[str, Any]]) -> Best | None:
    """The network of a run with the best score on the validation split, of equals the first; None where none has one.

    The score is the one by which the best checkpoint is chosen: mean IoU of pixels, accuracy of images, loss of a text.
    It is that of the last epoch in `records` which had ended when the network was taken.
    """
    measure = run.entry.measure
    found = []
    for i, member in enumerate(run.members):
        past = [record for record in records if record["step"] <= member.step]
        each = past[-1].get(f"validation_{measure}_members") if past else None
        score = each[member.lane] if each else past[-1].get(f"validation_{measure}") if past else None
        if score is not None:
            found.append(Best(i, measure, score, past[-1]["epoch"]))
    return max(found, key=lambda one: -one.score if measure == "loss" else one.score, default=None)


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
