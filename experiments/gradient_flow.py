"""What carries activations and gradients through a deep network? First values, shortcuts, heads in between, gates.

    python experiments/gradient_flow.py

Networks at the start of their training, on real images and text: a perceptron of ten layers with three ways of drawing
its weights, CIFAR's ResNet-56 and the same net without its shortcuts, GoogLeNet with and without the losses of its
auxiliary heads, and a vanilla RNN beside an LSTM, whose gradient goes back through the characters. Writes
``gradient-flow.json`` and ``gradient-flow.png`` beside the other results.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx

from jax231.core.files import write_whole
from jax231.core.types import Batch
from jax231.core.unoptimized import jit_unoptimized
from jax231.data import sources
from jax231.functional.activations import relu, tanh
from jax231.functional.initializers import Initializer, gaussian, he, xavier
from jax231.functional.losses import softmax_cross_entropy
from jax231.models import zoo
from jax231.models.flow import Flow, flow_through_time, gradient_flow
from jax231.nn.affine import Affine
from jax231.nn.bridge import Constructor, functionalize
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.report.flow import Panel, write_flow

HERE = Path(__file__).resolve().parent
DRAWN = {"gaussian 0.01, tanh": (gaussian(0.01), tanh), "xavier, tanh": (xavier(), tanh),
         "xavier, relu": (xavier(), relu), "he, relu": (he(), relu)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much data, how deep, and where the results go."""

    examples: int = 32
    """Images in the batch."""

    layers: int = 10
    """Layers of the perceptron."""

    depth: int = 56
    """Layers of the nets with and without shortcuts."""

    large: int = 96
    """Pixels along a side of GoogLeNet's images."""

    steps: int = 50
    """Characters that the recurrent nets read."""

    folder: Path = HERE / "results"
    """Where the results go."""


class Perceptron(Layer):
    """Affine maps of 500 units with a nonlinearity behind each."""

    def __init__(
        self, features: int, layers: int, init: Initializer, activation: Callable[..., jax.Array], *, rngs: nnx.Rngs
    ):
        sizes = [features] + [500] * layers
        self.hidden = nnx.List([Affine(*pair, kernel_init=init, rngs=rngs) for pair in itertools.pairwise(sizes)])
        self.scores = Affine(500, 10, kernel_init=init, rngs=rngs)
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """The scores of the classes."""
        x = flatten(x)
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.scores(x)


def images(count: int) -> Batch:
    """The first images of CIFAR-10, each pixel with mean 0 and standard deviation 1 over them all."""
    train = sources.load("cifar10").train
    x = np.asarray(train.images[:count], np.float32)
    return Batch(jnp.asarray((x - x.mean()) / x.std()), jnp.asarray(train.labels[:count], jnp.int32))


def flow_of(build: Constructor, batch: Batch, loss: Callable[..., jax.Array], *, train: bool) -> Flow:
    """At the first values of a model."""
    params, state = jax.jit(functionalize(build).init)(jax.random.key(0))
    return gradient_flow(build, params, state, batch, loss, train=train, key=jax.random.key(1))


def of_kind(flow: Flow, kinds: tuple[str, ...], column: str) -> list[float]:
    """The numbers of the layers of these kinds, in order."""
    values = np.asarray(getattr(flow, column), float)
    return [float(value) for value, kind in zip(values, flow.kinds, strict=True) if kind.startswith(kinds)]


def initialization(batch: Batch, layers: int) -> list[Panel]:
    """Ten layers with weights drawn in several ways."""
    spread, slopes = {}, {}
    for name, (init, activation) in DRAWN.items():
        features = int(np.prod(batch.inputs.shape[1:]))
        build = functools.partial(Perceptron, features, layers, init, activation)
        flow = flow_of(lambda rngs, build=build: build(rngs=rngs), batch, softmax_cross_entropy, train=True)
        spread[name], slopes[name] = of_kind(flow, ("Affine",), "std"), of_kind(flow, ("Affine",), "gradient")
    title = f"First values: {layers} layers of 500 units"
    return [Panel(title, "layer", "deviation of what it gives", spread), Panel(title, "layer", "gradient norm", slopes)]


def shortcuts(batch: Batch, depth: int) -> list[Panel]:
    """A deep net with shortcuts and without, each with batch normalisation."""
    entries = {f"ResNet-{depth}": True, f"plain-{depth}": False}
    lines = {}
    for name, residual in entries.items():
        build = zoo.entry("resnet56").constructor((32, 32, 3), 10, depth=depth, residual=residual)
        lines[name] = of_kind(flow_of(build, batch, softmax_cross_entropy, train=True), ("Conv 3x3",), "gradient")
    return [Panel("Shortcuts", "3x3 convolution", "gradient norm", lines)]


def heads(batch: Batch, size: int) -> list[Panel]:
    """GoogLeNet's own loss, and that of its last head alone: convolutions of the trunk by their parameters."""
    entry = zoo.entry("googlenet")
    large = jax.image.resize(batch.inputs, (len(batch.targets), size, size, 3), "linear")
    build, lines = entry.constructor((size, size, 3), 10), {}
    losses = {"with auxiliary heads": entry.loss_function,
              "last head only": lambda outputs, targets: softmax_cross_entropy(outputs.logits, targets)}  # fmt: skip
    for name, loss in losses.items():
        flow = flow_of(build, Batch(large, batch.targets), loss, train=True)
        grads = np.asarray(flow.parameter_gradient, float)
        calls = zip(flow.names, flow.kinds, grads, strict=True)
        lines[name] = [float(value) for at, kind, value in calls if "aux" not in at and kind.startswith("Conv")]
    return [Panel("Auxiliary heads", "convolution of GoogLeNet's trunk", "gradient norm of its weights", lines)]


def gates(steps: int, count: int) -> list[Panel]:
    """A vanilla RNN and an LSTM over Shakespeare: how much an early carry matters for the last character."""
    corpus = sources.load_text()
    codes = np.asarray(corpus.train[: count * (steps + 1)]).reshape(count, steps + 1)
    tokens, targets = jnp.asarray(codes[:, :-1], jnp.int32), jnp.asarray(codes[:, -1], jnp.int32)
    lines = {}
    for name, kind in {"vanilla RNN": "char_rnn", "LSTM": "char_lstm"}.items():
        model = zoo.entry(kind).build((steps,), 65)
        params, state = jit_unoptimized(model.init)(jax.random.key(0))
        shapes = jax.eval_shape(lambda p, m=model, s=state: m.apply(p, s, (None, tokens), train=False)[0][0], params)
        carry = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        loss = lambda logits, targets: softmax_cross_entropy(logits[:, -1], targets)  # noqa: E731
        lines[name] = np.asarray(flow_through_time(model, params, state, carry, tokens, targets, loss), float).tolist()
    return [Panel("Gates", "step of the carry", "gradient norm of the last loss", lines)]


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Measure, write, draw."""
    config.folder.mkdir(parents=True, exist_ok=True)
    batch = images(config.examples)
    panels = [
        *initialization(batch, config.layers),
        *shortcuts(batch, config.depth),
        *heads(Batch(batch.inputs[:8], batch.targets[:8]), config.large),
        *gates(config.steps, config.examples),
    ]
    settings = {name: value for name, value in asdict(config).items() if name != "folder"}
    stored = {"config": settings, "panels": [panel._asdict() for panel in panels]}
    write_whole(config.folder / "gradient-flow.json", msgspec.json.format(msgspec.json.encode(stored)) + b"\n")
    print(write_flow(panels, config.folder / "gradient-flow.png"))


if __name__ == "__main__":
    cyclopts.run(main)
