"""Weights of PyTorch in our models and back: names, orders of axes and gates, and errors that name what differs."""

import os
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core import tree
from jax231.models import pretrained, torch_names, torch_weights, zoo
from tests.torch_files import write_torch

NETS: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {  # entry: shape, classes, arguments
    "alexnet": ((63, 63, 3), 5, {"channels": (2, 3, 4, 3, 2), "units": 6}),
    "vgg11": ((64, 64, 3), 4, {"channels": (2, 2, 3, 3, 4), "units": 5}),
    "vgg16_bn": ((32, 32, 3), 4, {"channels": (2, 2, 3, 3, 4), "units": 5}),
    "resnet18": ((32, 32, 3), 4, {"width": 4}),
    "resnet50": ((32, 32, 3), 4, {"width": 4, "stages": (1, 1)}),
    "char_lstm": ((6,), 5, {"hidden": 4, "embedding": 3}),
    "char_rnn": ((6,), 5, {"hidden": 4}),
}


def initial(name):
    """Parameters and state that differ from their first values everywhere."""
    shape, classes, arguments = NETS[name]
    wanted = jax.eval_shape(zoo.entry(name).build(shape, classes, **arguments).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), wanted)


@pytest.mark.parametrize("name", NETS)
def test_there_and_back(name):
    shape, classes, arguments = NETS[name]
    params, state = initial(name)
    weights = pretrained.to_state_dict(name, params, state)
    again = pretrained.load(name, weights, shape=shape, classes=classes, **arguments)
    chex.assert_trees_all_equal(again, (params, state))
    total = sum(array.size for array in weights.values())
    hidden = sum(array.size for key, array in weights.items() if ".bias_hh" in key)  # the second bias, of zeros
    assert total - hidden == tree.size((params, state))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet", {"features.0.weight": (2, 3, 11, 11), "classifier.1.weight": (6, 2), "classifier.6.bias": (5,)}),
        ("vgg11", {"features.18.weight": (4, 4, 3, 3), "classifier.0.weight": (5, 16), "classifier.6.weight": (4, 5)}),
        ("vgg16_bn", {"features.41.running_var": (4,), "features.40.weight": (4, 4, 3, 3), "features.7.bias": (2,)}),
        ("resnet18", {"layer2.0.downsample.1.running_mean": (8,), "layer4.1.conv2.weight": (32, 32, 3, 3)}),
        ("resnet50", {"layer2.0.bn3.weight": (32,), "layer1.0.downsample.0.weight": (16, 4, 1, 1)}),
        ("char_lstm", {"recurrent.weight_ih_l1": (16, 4), "recurrent.bias_hh_l0": (16,), "embedding.weight": (5, 3)}),
        ("char_rnn", {"recurrent.weight_ih_l0": (4, 5), "scores.weight": (5, 4)}),
    ],
)
def test_names_are_torchvisions(name, expected):
    weights = pretrained.to_state_dict(name, *initial(name))
    assert {key: weights[key].shape for key in expected} == expected


def test_flattened_images_are_read_in_the_order_of_their_channels():
    h, w, c, units = 2, 3, 4, 5
    rng = np.random.default_rng(0)
    image, weight = rng.normal(size=(h, w, c)), rng.normal(size=(units, c * h * w))
    how = torch_weights.made({"kernel": (h * w * c, units)}, "kernel", c)
    np.testing.assert_allclose(image.reshape(-1) @ how.of(weight), weight @ image.transpose(2, 0, 1).reshape(-1))
    np.testing.assert_array_equal(how.back(how.of(weight))[0], weight)


def test_gates_of_an_lstm_change_places_and_its_biases_are_added():
    h = 2
    leaves = {"wx": (3, 4 * h), "wh": (h, 4 * h), "b": (4 * h,)}
    i, f, g, o = np.arange(4.0).repeat(h).reshape(4, h)
    ours = torch_weights.made(leaves, "b").of(np.concatenate([i, f, g, o]), np.full(4 * h, 10.0))
    np.testing.assert_array_equal(ours, np.concatenate([i, f, o, g]) + 10)


def test_old_names_of_densenet():
    key = "features.denseblock1.denselayer2.norm.1.running_mean"
    new = {"features.denseblock1.denselayer2.norm1.running_mean": 1, "features.conv0.weight": 2}
    assert torch_names.current("densenet", {key: 1, "features.conv0.weight": 2}) == new
    assert torch_names.current("resnet", {key: 1}) == {key: 1}


def test_a_file_of_weights(tmp_path):
    shape, classes, arguments = NETS["resnet18"]
    params, state = initial("resnet18")
    weights = pretrained.to_state_dict("resnet18", params, state) | {"bn1.num_batches_tracked": np.array(3)}
    path = write_torch(tmp_path / "net.pth", {"state_dict": weights, "epoch": 3})
    seen = pretrained.load("resnet18", path, shape=shape, classes=classes, inside="state_dict", **arguments)
    chex.assert_trees_all_equal(seen, (params, state))


def test_weights_of_another_model_are_named():
    shape, classes, arguments = NETS["resnet18"]
    weights = pretrained.to_state_dict("resnet18", *initial("resnet18"))
    with pytest.raises(ValueError, match=r"weights of resnet18; got .* of another shape: fc\.bias \(4,\) instead"):
        pretrained.load("resnet18", weights, shape=shape, classes=7, **arguments)
    other = {"head.weight": np.zeros(2)} | {key: array for key, array in weights.items() if key != "conv1.weight"}
    with pytest.raises(ValueError, match=r"missing: conv1\.weight; unknown: head\.weight$"):
        pretrained.load("resnet18", other, shape=shape, classes=classes, **arguments)
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more; unknown: .* and \d+ more"):
        pretrained.load("vgg11", weights)


def test_models_without_names_in_pytorch_are_named():
    with pytest.raises(ValueError, match=r"one of alexnet, .*; got architecture='convnet'"):
        pretrained.load("convnet", {})
    with pytest.raises(ValueError, match=r"expected a name of the zoo; got 'resnet19' .nearest: resnet"):
        pretrained.load("resnet19", {})


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_recurrent_networks_against_torch(kind):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.recurrent = getattr(torch.nn, kind)(3, 4, 2, batch_first=True)
            self.scores = torch.nn.Linear(4, 5)

        def forward(self, tokens):
            return self.scores(self.recurrent(self.embedding(tokens))[0])

    net, tokens = Text(), np.random.default_rng(0).integers(0, 5, (2, 6))
    name, options = f"char_{kind.lower()}", {"hidden": 4, "embedding": 3}
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    params, state = pretrained.load(name, weights, shape=(6,), classes=5, **options)
    model = zoo.entry(name).build((6,), 5, **options)
    (_, logits), _ = model.apply(params, state, (None, jnp.asarray(tokens)), train=False)
    expected = net(torch.from_numpy(tokens)).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_squeezenet_sees_what_is_on_the_photographs():
    photographs = pytest.importorskip("skimage.data")
    squeezenet_imagenet = pytest.importorskip("jax231.models.squeezenet_imagenet")
    folder = os.environ.get("JAX231_DATA")
    if not folder:
        pytest.skip("JAX231_DATA is not set: no trained weights here")
    classifier = squeezenet_imagenet.squeezenet_imagenet(f"{folder}/squeezenet_v1_0")
    camera = np.repeat(photographs.camera()[..., None], 3, -1)
    photographs = [photographs.chelsea(), photographs.coffee(), camera, photographs.rocket()]
    inputs = jnp.concatenate([squeezenet_imagenet.preprocess(image) for image in photographs])
    seen = squeezenet_imagenet.best(classifier, inputs, 2)
    names = [[name for name, _ in row] for row in seen]
    assert names == [["Egyptian Mau", "tiger cat"], ["espresso", "soup bowl"], ["tripod", "umbrella"],
                     ["pole", "missile"]]  # fmt: skip
    np.testing.assert_allclose([row[0][1] for row in seen], [0.53, 0.90, 0.96, 0.42], atol=0.02)
