"""The table of a model's layers, against sums by hand."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jax231.functional.activations import relu
from jax231.models import zoo
from jax231.models.receptive_field import Field
from jax231.models.summary import kind, of_entry, summary
from jax231.nn.affine import Affine
from jax231.nn.conv import Conv, ConvTranspose
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout
from jax231.nn.norm import BatchNorm, LayerNorm
from jax231.nn.pool import AvgPool, GlobalAvgPool, MaxPool, MaxPoolWithSwitches, MaxUnpool
from jax231.nn.recurrent import LSTM, RNN, Embedding, Stack
from jax231.nn.sequential import Sequential

IMAGE = jax.ShapeDtypeStruct((1, 12, 16, 3), jnp.float32)


def rows_of(constructor, inputs=IMAGE, **options):
    table = summary(constructor, inputs, **options)
    return table, {row.name: row for row in table.rows}


def square(size, stride):
    return (Field(size, stride),) * 2


def test_a_convnet_by_hand():
    def build(rngs):
        layers = [Conv(3, 8, 5, rngs=rngs), BatchNorm(8, relu=True), MaxPool(2), Dropout(0.5, rngs=rngs), flatten]
        return Sequential([*layers, Affine(6 * 8 * 8, 10, rngs=rngs)])

    table, _ = rows_of(build)
    assert table.rows == (
        ("layers/00", "Conv 5x5", (12, 16, 8), 75 * 8 + 8, 12 * 16 * 8 * 75, 4 * 12 * 16 * 8, square(5, 1)),
        ("layers/01", "BatchNorm, relu", (12, 16, 8), 16, 0, 4 * 12 * 16 * 8, square(5, 1)),
        ("layers/02", "MaxPool 2x2 / 2", (6, 8, 8), 0, 0, 4 * 6 * 8 * 8, square(6, 2)),
        ("layers/03", "Dropout", (6, 8, 8), 0, 0, 0, square(6, 2)),
        ("layers/05", "Affine", (10,), 3850, 3840, 40, (Field(12, 0), Field(16, 0))),
    )
    assert table.blocks == {"": "Sequential"}
    assert table.parameters == sum(row.parameters for row in table.rows) == 608 + 16 + 3850
    assert (table.macs, table.memory) == (sum(row.macs for row in table.rows), sum(row.memory for row in table.rows))
    assert rows_of(build, train=True)[1]["layers/03"].memory == 4 * 6 * 8 * 8


class TwoHeads(Layer):
    """A net with a block, a layer that is called twice, a scale of its own, and a head for training."""

    def __init__(self, *, rngs):
        self.stem = Sequential([Conv(3, 4, 3, stride=2, rngs=rngs)])
        self.same = Conv(4, 4, 3, bias=False, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(4))
        self.head, self.extra = Affine(4, 2, rngs=rngs), Affine(4, 3, rngs=rngs)
        self.deterministic = False

    def __call__(self, x):
        x = self.stem(x)
        x = (x + self.same(relu(self.same(x)))).mean((1, 2)) * self.scale[...]
        return self.head(x) if self.deterministic else (self.head(x), self.extra(x))


def test_blocks_shared_layers_and_layers_for_training():
    table, rows = rows_of(lambda rngs: TwoHeads(rngs=rngs))
    assert list(rows) == ["stem/layers/00", "same", "head", "", "extra"]
    assert table.blocks == {"": "TwoHeads", "stem": "Sequential"}
    assert rows["same"][2:] == ((6, 8, 4), 144, 2 * 6 * 8 * 4 * 36, 2 * 4 * 6 * 8 * 4, square(7, 2))
    assert rows[""].parameters == 4
    assert rows["extra"] == ("extra", "Affine", None, 15, 0, 0, None)
    assert table.parameters == 112 + 144 + 4 + 10 + 15
    _, training = rows_of(lambda rngs: TwoHeads(rngs=rngs), train=True)
    assert training["extra"].output == (3,)


class Autoencoder(Layer):
    """Pooling with switches, and back."""

    def __init__(self, *, rngs):
        self.pool, self.unpool = MaxPoolWithSwitches(2), MaxUnpool()
        self.up = ConvTranspose(3, 5, 4, stride=2, rngs=rngs)

    def __call__(self, x):
        y, switches = self.pool(x)
        return self.unpool(y, switches, x.shape), self.up(y)


def test_several_results():
    table, rows = rows_of(lambda rngs: Autoencoder(rngs=rngs))
    assert (rows["pool"].output, rows["pool"].memory) == ((6, 8, 3), 2 * 4 * 6 * 8 * 3)
    assert rows["unpool"].field == square(2, 1)
    assert rows["up"][1:5] == ("ConvTranspose 4x4 / 2", (12, 16, 5), 240 + 5, 6 * 8 * 3 * 16 * 5)
    assert table.macs == rows["up"].macs


class Characters(Layer):
    """An embedding, two recurrent layers, scores."""

    def __init__(self, *, rngs):
        self.embedding = Embedding(9, 5, rngs=rngs)
        self.stack = Stack([RNN(5, 6, rngs=rngs), LSTM(6, 7, rngs=rngs)])
        self.scores = Affine(7, 9, rngs=rngs)

    def __call__(self, inputs):
        carry, tokens = inputs
        carry, h = self.stack(carry or self.stack.zero_carry(len(tokens)), self.embedding(tokens))
        return carry, self.scores(h)


def test_tokens_have_no_receptive_field():
    table, rows = rows_of(lambda rngs: Characters(rngs=rngs), (None, jax.ShapeDtypeStruct((1, 11), jnp.int32)))
    assert [row.kind for row in table.rows] == ["Embedding", "RNN", "LSTM", "Affine"]
    assert [row.output for row in table.rows] == [(11, 5), (11, 6), (11, 7), (11, 9)]
    assert rows["stack/layers/00"].macs == 11 * 6 * (5 + 6)
    assert rows["stack/layers/01"].macs == 11 * 4 * 7 * (6 + 7)
    assert {row.field for row in table.rows} == {None}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda rngs: Conv(8, 8, (1, 3), stride=(2, 1), groups=4, rngs=rngs), "Conv 1x3 / 2x1, 4 groups"),
        (lambda rngs: AvgPool(3, stride=1), "AvgPool 3x3"),
        (lambda rngs: GlobalAvgPool(), "GlobalAvgPool"),
        (lambda rngs: LayerNorm(3), "LayerNorm"),
    ],
)
def test_kinds(layer, said):
    assert kind(layer(nnx.Rngs(0))) == said


def test_the_largest_net_at_once():
    """VGG-16 in its own words: 138 million parameters, 15.5 G multiplications."""

    def build(rngs):
        layers, cin = [], 3
        for count, cout in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(count):
                layers, cin = [*layers, Conv(cin, cout, 3, rngs=rngs), relu], cout
            layers.append(MaxPool(2))
        sizes = ((512 * 7 * 7, 4096), (4096, 4096), (4096, 1000))
        return Sequential([*layers, flatten, *(Affine(*size, rngs=rngs) for size in sizes)])

    table, rows = rows_of(build, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
    assert (table.parameters, table.macs) == (138_357_544, 15_470_264_320)
    assert rows["layers/30"].field == square(212, 32)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("resnet18", 11_689_512, 1.81e9), ("char_lstm", None, None), ("caption_lstm", None, None)],
)
def test_entries_of_the_zoo(name, parameters, macs):
    table = of_entry(zoo.entry(name))
    assert table.parameters == (parameters or table.parameters) == sum(row.parameters for row in table.rows)
    assert table.macs == pytest.approx(macs or table.macs, rel=0.005)
    images = [row.field is not None for row in table.rows]
    assert all(images) if name == "resnet18" else not all(images)


def test_pooling_has_rows():
    kinds = [row.kind for row in of_entry(zoo.entry("vgg11"), (32, 32, 3), 10).rows]
    assert kinds.count("MaxPool 2x2 / 2") == 5
    assert [row.kind for row in of_entry(zoo.entry("lenet")).rows][:4] == ["Conv 5x5", "AvgPool 2x2 / 2"] * 2
