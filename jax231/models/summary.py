"""What a model is made of, layer by layer: output shapes, parameters, multiplications, memory, receptive fields."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jax231.core import tree
from jax231.core.types import PyTree
from jax231.models.receptive_field import Field, receptive_fields
from jax231.models.zoo import Entry
from jax231.nn.bridge import Constructor, layer_names
from jax231.nn.layer import Layer, watching
from jax231.nn.noise import hand_out

BYTES = 4
"""Of a number in float32."""

WORDS = 16
"""Of a caption."""


class Row(NamedTuple):
    """A layer: its name and kind, the shape of its output without the batch, and what it costs.

    `macs` are multiplications with a weight; `memory` the bytes of its output in float32, 0 where it hands on what it
    was given. `field` is the receptive field of an entry of the output along height and width, None where no image was
    seen. A layer that did not run, since it does in training only, has no output.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    macs: int
    memory: int
    field: tuple[Field, Field] | None


class Summary(NamedTuple):
    """The layers in the order in which they ran; the kinds of the blocks around them, by name; and the sums."""

    rows: tuple[Row, ...]
    blocks: Mapping[str, str]
    parameters: int
    macs: int
    memory: int


def summary(constructor: Constructor, inputs: PyTree, *, train: bool = False) -> Summary:
    """The layers of the module that ``constructor(rngs)`` builds, as they run on `inputs`, arrays or their shapes.

    Only traced: the largest net takes no memory. Rows are the layers without layers inside, and those that have
    parameters of their own; what a model computes between its layers is not counted. A layer that is called again adds
    to its costs, for which `inputs` are one example, a batch of one. With `train` the model is in training mode.
    """
    module = without_memory(constructor, train=train)
    layers = layers_of(module)
    graph, variables = nnx.split(module)
    own = {name: own_parameters(layer) for name, layer in layers.items()}
    parents = parents_among(layers)
    kept = [name for name in layers if own[name] or name not in parents]
    calls: list[tuple[str, tuple[int, ...], int, int]] = []

    def outputs(inputs: PyTree, variables: PyTree) -> list[jax.Array]:
        module, seen = nnx.merge(graph, variables), []
        hand_out(module, None, {})
        names = layer_names(module)

        def watch(layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            if (name := names[id(layer)]) in kept:
                results, old = jax.tree.leaves(output), set(map(id, jax.tree.leaves(given)))
                macs = layer.macs(given, output) if hasattr(layer, "macs") else 0
                size = sum(x.size for x in results if id(x) not in old)
                calls.append((name, results[-1].shape[1:], macs, BYTES * size))
                seen.append(results[-1])
            return output

        with watching(watch):
            module(inputs)
        return seen

    fields = receptive_fields(outputs, inputs, variables)
    rows = {}
    for (name, shape, macs, memory), field in zip(calls, fields, strict=True):
        row = rows.setdefault(name, Row(name, kind(layers[name]), shape, own[name], 0, 0, field))
        rows[name] = row._replace(macs=row.macs + macs, memory=row.memory + memory)
    for name in kept:
        rows.setdefault(name, Row(name, kind(layers[name]), None, own[name], 0, 0, None))
    every = tuple(rows.values())
    blocks = {name: kind(layers[name]) for name in layers if name in parents}
    macs, memory = sum(row.macs for row in every), sum(row.memory for row in every)
    return Summary(every, blocks, tree.size(nnx.state(module, nnx.Param)), macs, memory)


def of_entry(
    entry: Entry, shape: tuple[int, ...] | None = None, classes: int | None = None, *, train: bool = False
) -> Summary:
    """The `summary` of a model of the zoo, at the shape and with the classes of its paper where none are given.

    Raises: ValueError where the model does not take that shape.
    """
    shape, classes = shape or entry.shape, classes or entry.classes
    return summary(entry.constructor(shape, classes), inputs_of(entry, shape), train=train)


def inputs_of(entry: Entry, shape: tuple[int, ...], n: int = 1) -> PyTree:
    """Shapes and types of `n` inputs of a model of the zoo; recurrent ones start from zeros, captions have `WORDS`."""
    if entry.form == "tokens":
        return None, jax.ShapeDtypeStruct((n, *shape), jnp.int32)
    images = jax.ShapeDtypeStruct((n, *shape), jnp.float32)
    return (images, jax.ShapeDtypeStruct((n, WORDS), jnp.int32)) if entry.form == "image and tokens" else images


def without_memory(constructor: Constructor, *, train: bool = False) -> nnx.Module:
    """The module that ``constructor(rngs)`` builds, made of shapes, in one of its modes."""
    module = nnx.eval_shape(lambda: constructor(_StillRngs()))
    module.train() if train else module.eval()
    return module


def own_parameters(layer: Layer) -> int:
    """How many parameters a layer has itself, without those of layers inside."""
    return sum(x.size for x in vars(layer).values() if isinstance(x, nnx.Param))


def layers_of(module: nnx.Module) -> dict[str, Layer]:
    """All layers of a model by name, blocks among them."""
    names = layer_names(module)
    return {names[id(layer)]: layer for _, layer in nnx.iter_modules(module) if isinstance(layer, Layer)}


class _Still(nnx.RngStream):
    """A stream that has one key. Counting keys in a trace takes time that grows with the square of the depth."""

    def __call__(self) -> jax.Array:
        return self.key[...]


class _StillRngs(nnx.Rngs):
    """For a module of which only the shapes are wanted."""

    default: nnx.RngStream

    def __init__(self):
        super().__init__()
        self.default = _Still(0, tag="default")


def parents_among(names: Iterable[str]) -> set[str]:
    """Those of the `names` that contain others: "stage1" is a parent of "stage1/00"."""
    names = set(names)
    above = {name.rsplit("/", depth)[0] for name in names for depth in range(1, name.count("/") + 1)}
    return names & (above | {""} if names > {""} else above)


def kind(layer: nnx.Module) -> str:
    """The class of a layer with its window and stride: "Conv 7x7 / 2"; "BatchNorm, relu"."""
    words = [type(layer).__name__]
    kernel = getattr(layer, "kernel", None)
    window = getattr(layer, "window", kernel.shape[:2] if kernel is not None and len(kernel.shape) == 4 else None)
    if window is not None:
        words.append("x".join(map(str, window)))
        stride = getattr(layer, "stride", 1)
        height, width = (stride, stride) if isinstance(stride, int) else stride
        if (height, width) != (1, 1):
            words.append(f"/ {height}" if height == width else f"/ {height}x{width}")
    groups = getattr(layer, "groups", 1)
    notes = [f"{groups} groups"] if groups != 1 else []
    notes += ["relu"] if getattr(layer, "relu", None) is True else []
    return ", ".join([" ".join(words), *notes])
