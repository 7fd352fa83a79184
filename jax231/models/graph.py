"""Which layer of a model reads which: its layers in the order in which they run, with their edges."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from jax231.core.types import PyTree
from jax231.models.summary import kind, layers_of, own_parameters, parents_among, without_memory
from jax231.nn.bridge import Constructor, layer_names
from jax231.nn.layer import Layer, watching
from jax231.nn.noise import hand_out

INPUT = -1
"""The place of the model's inputs among what a call reads."""


class Call(NamedTuple):
    """A layer that runs: its name and kind, the shape of its output without the batch, its parameters.

    `reads` are the places of the calls whose outputs reach this one through no other layer, `INPUT` for the model's
    inputs. What a call before has counted, of a layer that runs again, has no parameters here.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    reads: tuple[int, ...]


class Block(NamedTuple):
    """A layer with layers inside: its kind, and the shape of its output without the batch."""

    kind: str
    output: tuple[int, ...]


class Graph(NamedTuple):
    """The calls in order, and the blocks around them by name."""

    calls: tuple[Call, ...]
    blocks: Mapping[str, Block]


def graph(constructor: Constructor, inputs: PyTree, *, train: bool = False) -> Graph:
    """The calls of the layers without layers inside, of the module that ``constructor(rngs)`` builds, on `inputs`.

    Only traced, `inputs` are arrays or their shapes. Layers that hand on what they are given, as dropout does outside
    of training, are left out.
    """
    module = without_memory(constructor, train=train)
    structure, variables = nnx.split(module)
    layers = layers_of(module)
    blocks = parents_among(layers)
    seen: list[tuple[str, int, int]] = []
    around: dict[str, Block] = {}

    def values(inputs: PyTree, variables: PyTree) -> list[jax.Array]:
        module, found = nnx.merge(structure, variables), []
        hand_out(module, None, {})
        names = layer_names(module)

        def watch(layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            read, made = ([x for x in jax.tree.leaves(tree) if isinstance(x, jax.Array)] for tree in (given, output))
            if names[id(layer)] in blocks and made:
                around[names[id(layer)]] = Block(kind(layer), made[-1].shape[1:])
            elif not set(map(id, made)) <= set(map(id, read)):
                seen.append((names[id(layer)], len(read), len(made)))
                found.extend([*read, *made])
            return output

        with watching(watch):
            module(inputs)
        return found

    jaxpr = jax.make_jaxpr(values)(inputs, variables).jaxpr
    atoms, ends = iter(jaxpr.outvars), []
    for name, read, made in seen:
        ends.append((name, [next(atoms) for _ in range(read)], [next(atoms) for _ in range(made)]))
    makers = {id(atom): place for place, (_, _, made) in enumerate(ends) for atom in made}
    sources = {id(atom): frozenset({INPUT}) for atom in jaxpr.invars[: len(jax.tree.leaves(inputs))]}
    nothing: frozenset[int] = frozenset()
    for equation in jaxpr.eqns:
        reached = nothing.union(*(sources.get(id(atom), nothing) for atom in equation.invars))
        for atom in equation.outvars:
            sources[id(atom)] = frozenset({makers[id(atom)]}) if id(atom) in makers else reached
    calls: list[Call] = []
    for name, read, made in ends:
        reads = tuple(sorted(nothing.union(*(sources.get(id(atom), nothing) for atom in read))))
        parameters = 0 if name in {call.name for call in calls} else own_parameters(layers[name])
        calls.append(Call(name, kind(layers[name]), made[-1].aval.shape[1:], parameters, reads))
    return Graph(tuple(calls), around)
