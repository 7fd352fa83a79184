"""The table of models: what each is, and the facts that come with it.

The table imports no JAX; `Entry.build` imports the architecture.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import jax231.core.types
    import jax231.nn.bridge

from jax231.core.checks import require
from jax231.core.lookup import by_name

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Small(NamedTuple):
    """A variant that trains within a second, of the same code: other arguments, images and classes."""

    shape: tuple[int, ...]
    classes: int
    arguments: Mapping[str, Any] = NOTHING


class Entry(NamedTuple):
    """One model: its architecture, what goes in and comes out, its loss, and what that is before the first step.

    `architecture` names a file of this folder and the function in it, ``architecture(shape, classes, **arguments)``,
    which returns ``constructor(rngs) -> module``. `loss` and `start` are empty for a model without parameters to learn.
    `form` says what goes in: "image" (n, h, w, c), "tokens" as ``(carry, tokens)``, or "image and tokens". `shape` and
    `classes` are those of the paper, `small` those for tests.
    """

    name: str
    title: str
    architecture: str
    loss: str
    start: str
    source: str
    arguments: Mapping[str, Any] = NOTHING
    shape: tuple[int, ...] = (32, 32, 3)
    classes: int = 10
    small: Small | None = None
    form: str = "image"
    metrics: tuple[str, ...] = ("accuracy",)

    def constructor(self, shape: tuple[int, ...], classes: int, **arguments: Any) -> "jax231.nn.bridge.Constructor":
        """``constructor(rngs) -> module`` for images (h, w, c) and so many classes; `arguments` go over the entry's."""
        require(classes >= 1, f"models.{self.name}", "at least one class", classes=classes)
        module = importlib.import_module(f"jax231.models.{self.architecture}")
        return getattr(module, self.architecture)(shape, classes, **{**self.arguments, **arguments})

    def build(self, shape: tuple[int, ...], classes: int, **arguments: Any) -> "jax231.core.types.Model":
        """The model's pure functions for images (h, w, c) and so many classes."""
        from jax231.nn.bridge import functionalize

        return functionalize(self.constructor(shape, classes, **arguments))

    @property
    def loss_function(self) -> Callable[..., Any]:
        """``loss(outputs, targets) -> (n,)``."""
        loss = getattr(importlib.import_module("jax231.functional.losses"), self.loss)
        if self.form == "tokens":
            return lambda outputs, targets, *options: loss(self.scores(outputs), targets, *options)
        return loss

    def scores(self, outputs: Any) -> Any:
        """The scores among a model's outputs: without the carry of a recurrent network, or a head's in training."""
        return outputs[1] if self.form == "tokens" else getattr(outputs, "logits", outputs)

    @property
    def probabilistic(self) -> bool:
        """Whether the scores are logarithms of probabilities, as those of a cross entropy are."""
        return "cross_entropy" in self.loss

    @property
    def of_pixels(self) -> bool:
        """Whether every pixel gets a class of its own, so that targets are masks."""
        return "mean_iou" in self.metrics

    @property
    def measure(self) -> Literal["loss", "accuracy", "mean_iou"]:
        """What tells the better of two networks on held-out data: overlap of areas, right answers, a text's loss."""
        return "loss" if self.form == "tokens" else "mean_iou" if self.of_pixels else "accuracy"

    def expected_start(self, classes: int) -> float:
        """The loss of scores that are all alike: log k for softmax, k - 1 for hinges, 1.6 log k with two heads more."""
        logarithm = math.log(classes)
        return {"log k": logarithm, "k - 1": float(classes - 1), "1.6 log k": 1.6 * logarithm}[self.start]


IMAGENET = (224, 224, 3)

DIGITS = Small((8, 8, 1), 10)

CLASSIC = (
    Entry("neighbors", "k-nearest neighbours", "neighbors", "", "", "CS231n lecture 2",
          {"examples": 50_000}, small=Small((4, 4, 1), 3, {"examples": 12})),
    Entry("softmax", "Softmax regression", "linear", "softmax_cross_entropy", "log k", "CS231n lecture 3",
          small=DIGITS),
    Entry("svm", "Linear SVM, squared hinge", "linear", "squared_hinge", "k - 1", "CS231n lecture 3", small=DIGITS),
    Entry("svm_hinge", "Linear SVM, hinge", "linear", "multiclass_hinge", "k - 1", "CS231n lecture 3", small=DIGITS),
    Entry("two_layer", "Two-layer net, ReLU", "two_layer", "softmax_cross_entropy", "log k", "CS231n lecture 4",
          small=DIGITS),
    Entry("two_layer_tanh", "Two-layer net, tanh", "two_layer", "softmax_cross_entropy", "log k", "CS231n lecture 4",
          {"activation": "tanh"}, small=DIGITS),
    Entry("mlp", "Multilayer perceptron", "mlp", "softmax_cross_entropy", "log k", "CS231n lecture 6",
          small=Small((4, 4, 1), 4, {"widths": (16, 16)})),
    Entry("mlp_batch_norm", "Multilayer perceptron, batch norm, dropout", "mlp", "softmax_cross_entropy", "log k",
          "CS231n lecture 6", {"batch_norm": True, "dropout": 0.2}, small=Small((4, 4, 1), 4, {"widths": (16, 16)})),
    Entry("mlp_maxout", "Multilayer perceptron, maxout", "mlp", "softmax_cross_entropy", "log k",
          "Goodfellow et al. 2013", {"activation": "maxout"}, small=Small((4, 4, 1), 4, {"widths": (16, 16)})),
    Entry("convnet", "Small ConvNet", "convnet", "softmax_cross_entropy", "log k", "CS231n lecture 5", small=DIGITS),
    Entry("lenet", "LeNet-5", "lenet", "softmax_cross_entropy", "log k", "LeCun et al. 1998",
          {"padding": 2}, (28, 28, 1), 10, Small((12, 12, 1), 4)),
    Entry("pattern", "[(conv-relu)*N-pool]*M-(fc-relu)*K", "pattern", "softmax_cross_entropy", "log k",
          "CS231n lecture 5", small=Small((8, 8, 1), 4, {"n": 2, "m": 2, "channels": 4, "units": 16})),
    Entry("pattern_batch_norm", "The pattern with batch norm and dropout", "pattern", "softmax_cross_entropy", "log k",
          "CS231n lecture 5", {"batch_norm": True, "dropout": 0.2},
          small=Small((8, 8, 1), 4, {"n": 1, "m": 2, "channels": 4, "units": 16})),
    Entry("all_conv", "All convolutional net (All-CNN-C)", "all_conv", "softmax_cross_entropy", "log k",
          "Springenberg et al. 2015", small=Small((9, 9, 1), 4, {"channels": (8, 16)})),
    Entry("alexnet", "AlexNet", "alexnet", "softmax_cross_entropy", "log k", "Krizhevsky 2014", {}, IMAGENET, 1000,
          Small((63, 63, 1), 4, {"channels": (4, 8, 8, 8, 8), "units": 32})),
    Entry("alexnet_2012", "AlexNet on two GPUs", "alexnet", "softmax_cross_entropy", "log k", "Krizhevsky et al. 2012",
          {"channels": (96, 256, 384, 384, 256), "groups": 2, "response_norm": True}, IMAGENET, 1000,
          Small((63, 63, 1), 4, {"channels": (4, 8, 8, 8, 8), "units": 32})),
    Entry("vgg11", "VGG-11", "vgg", "softmax_cross_entropy", "log k", "Simonyan and Zisserman 2015",
          {"depth": 11}, IMAGENET, 1000, Small((32, 32, 1), 4, {"channels": (4, 4, 8, 8, 8), "units": 32})),
    Entry("vgg13", "VGG-13", "vgg", "softmax_cross_entropy", "log k", "Simonyan and Zisserman 2015",
          {"depth": 13}, IMAGENET, 1000),
    Entry("vgg16", "VGG-16", "vgg", "softmax_cross_entropy", "log k", "Simonyan and Zisserman 2015",
          {"depth": 16}, IMAGENET, 1000),
    Entry("vgg19", "VGG-19", "vgg", "softmax_cross_entropy", "log k", "Simonyan and Zisserman 2015",
          {"depth": 19}, IMAGENET, 1000),
    Entry("vgg11_bn", "VGG-11, batch norm", "vgg", "softmax_cross_entropy", "log k", "Ioffe and Szegedy 2015",
          {"depth": 11, "batch_norm": True}, IMAGENET, 1000,
          Small((32, 32, 1), 4, {"channels": (4, 4, 8, 8, 8), "units": 32})),
    Entry("vgg13_bn", "VGG-13, batch norm", "vgg", "softmax_cross_entropy", "log k", "Ioffe and Szegedy 2015",
          {"depth": 13, "batch_norm": True}, IMAGENET, 1000),
    Entry("vgg16_bn", "VGG-16, batch norm", "vgg", "softmax_cross_entropy", "log k", "Ioffe and Szegedy 2015",
          {"depth": 16, "batch_norm": True}, IMAGENET, 1000),
    Entry("vgg19_bn", "VGG-19, batch norm", "vgg", "softmax_cross_entropy", "log k", "Ioffe and Szegedy 2015",
          {"depth": 19, "batch_norm": True}, IMAGENET, 1000),
)  # fmt: skip
"""Linear classifiers, multilayer perceptrons, and ConvNets up to VGG."""

DEEP = (
    Entry("googlenet", "GoogLeNet", "googlenet", "auxiliary_cross_entropy", "1.6 log k", "Szegedy et al. 2015", {},
          IMAGENET, 1000, Small((16, 16, 3), 4, {"modules": ("4a",), "width": 1 / 16})),
    Entry("resnet18", "ResNet-18", "resnet", "softmax_cross_entropy", "log k", "He et al. 2015",
          {"depth": 18}, IMAGENET, 1000, Small((16, 16, 3), 4, {"stages": (1, 1), "width": 8})),
    Entry("resnet34", "ResNet-34", "resnet", "softmax_cross_entropy", "log k", "He et al. 2015",
          {"depth": 34}, IMAGENET, 1000),
    Entry("resnet50", "ResNet-50", "resnet", "softmax_cross_entropy", "log k", "He et al. 2015",
          {"depth": 50}, IMAGENET, 1000, Small((16, 16, 3), 4, {"stages": (1, 1), "width": 4})),
    Entry("resnet101", "ResNet-101", "resnet", "softmax_cross_entropy", "log k", "He et al. 2015",
          {"depth": 101}, IMAGENET, 1000),
    Entry("resnet152", "ResNet-152", "resnet", "softmax_cross_entropy", "log k", "He et al. 2015",
          {"depth": 152}, IMAGENET, 1000),
    Entry("resnet20", "ResNet-20 for CIFAR", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 20}, small=Small((8, 8, 3), 4, {"stages": (1, 1), "width": 8})),
    Entry("resnet32", "ResNet-32 for CIFAR", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 32}),
    Entry("resnet44", "ResNet-44 for CIFAR", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 44}),
    Entry("resnet56", "ResNet-56 for CIFAR", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 56}),
    Entry("resnet110", "ResNet-110 for CIFAR", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 110}),
    Entry("resnet110_stochastic_depth", "ResNet-110, stochastic depth", "resnet_cifar", "softmax_cross_entropy",
          "log k", "Huang et al. 2016", {"depth": 110, "stochastic_depth": 0.5},
          small=Small((8, 8, 3), 4, {"stages": (1, 1), "width": 8})),
    Entry("preact_resnet20", "ResNet-20, pre-activation", "resnet_cifar", "softmax_cross_entropy", "log k",
          "He et al. 2016", {"depth": 20, "preactivation": True},
          small=Small((8, 8, 3), 4, {"stages": (1, 1), "width": 8})),
    Entry("preact_resnet110", "ResNet-110, pre-activation", "resnet_cifar", "softmax_cross_entropy", "log k",
          "He et al. 2016", {"depth": 110, "preactivation": True}),
    Entry("plain20", "Plain net of 20 layers", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 20, "residual": False}, small=Small((8, 8, 3), 4, {"stages": (1, 1), "width": 8})),
    Entry("plain56", "Plain net of 56 layers", "resnet_cifar", "softmax_cross_entropy", "log k", "He et al. 2015, 4.2",
          {"depth": 56, "residual": False}),
    Entry("densenet121", "DenseNet-121", "densenet", "softmax_cross_entropy", "log k", "Huang et al. 2017",
          {"depth": 121}, IMAGENET, 1000, Small((16, 16, 3), 4, {"blocks": (1, 1), "growth": 8, "width": 8})),
    Entry("densenet169", "DenseNet-169", "densenet", "softmax_cross_entropy", "log k", "Huang et al. 2017",
          {"depth": 169}, IMAGENET, 1000),
    Entry("densenet201", "DenseNet-201", "densenet", "softmax_cross_entropy", "log k", "Huang et al. 2017",
          {"depth": 201}, IMAGENET, 1000),
    Entry("densenet_bc_100_12", "DenseNet-BC-100-12 for CIFAR", "densenet_cifar", "softmax_cross_entropy", "log k",
          "Huang et al. 2017", {"depth": 100, "growth": 12},
          small=Small((8, 8, 3), 4, {"blocks": (1, 1), "growth": 8})),
    Entry("fractalnet20", "FractalNet of 20 layers", "fractalnet", "softmax_cross_entropy", "log k",
          "Larsson et al. 2017", {"columns": 3}, small=Small((8, 8, 3), 4, {"widths": (8, 8), "columns": 2})),
    Entry("fractalnet40", "FractalNet of 40 layers", "fractalnet", "softmax_cross_entropy", "log k",
          "Larsson et al. 2017", {"columns": 4}),
    Entry("squeezenet", "SqueezeNet 1.0", "squeezenet", "softmax_cross_entropy", "log k", "Iandola et al. 2016", {},
          IMAGENET, 1000, Small((29, 29, 3), 4, {"stages": ((4,), (4,), (8,)), "width": 8})),
)  # fmt: skip
"""GoogLeNet and what came after it: residual, dense, fractal, squeezed."""

SEQUENCES = (
    Entry("char_rnn", "Character RNN, vanilla", "char_rnn", "sequence_cross_entropy", "log k", "CS231n lecture 10",
          {"kind": "rnn"}, (50,), 65, Small((6,), 5, {"hidden": 16}), "tokens", ("perplexity", "accuracy")),
    Entry("char_lstm", "Character LSTM", "char_rnn", "sequence_cross_entropy", "log k", "CS231n lecture 10",
          {"kind": "lstm"}, (50,), 65, Small((6,), 5, {"hidden": 16}), "tokens", ("perplexity", "accuracy")),
    Entry("caption_rnn", "Captions of image features, vanilla", "caption", "caption_cross_entropy", "log k",
          "CS231n assignment 3", {"kind": "rnn"}, (512,), 1004, Small((6,), 7, {"hidden": 24, "embedding": 8}),
          "image and tokens", ("perplexity", "accuracy")),
    Entry("caption_lstm", "Captions of image features, LSTM", "caption", "caption_cross_entropy", "log k",
          "CS231n assignment 3", {"kind": "lstm"}, (512,), 1004, Small((6,), 7, {"hidden": 24, "embedding": 8}),
          "image and tokens", ("perplexity", "accuracy")),
    Entry("caption_convnet", "Captions of images, ConvNet and LSTM", "caption", "caption_cross_entropy", "log k",
          "Vinyals et al. 2015", {"kind": "lstm"}, (64, 64, 3), 1004,
          Small((8, 8, 3), 7, {"hidden": 24, "embedding": 8, "channels": (8,)}),
          "image and tokens", ("perplexity", "accuracy")),
)  # fmt: skip
"""Recurrent networks over characters and captions."""

VOC = ((500, 500, 3), 21)  # images of PASCAL VOC: at most 500 pixels a side, 20 kinds of things and the background
SMALL_FCN = {"channels": (8, 8, 16, 16, 16), "depth": 11, "units": 16, "window": 1}
SMALL_STAGES = {"channels": (8, 16), "convolutions": (1, 1)}

PIXELS = (
    *(Entry(f"fcn{stride}s_vgg16", f"FCN-{stride}s on VGG-16", "fcn", "pixelwise_cross_entropy", "log k",
            "Long et al. 2015", {"backbone": "vgg", "stride": stride}, *VOC, Small((32, 32, 3), 3, SMALL_FCN),
            metrics=("mean_iou", "accuracy"))
      for stride in (32, 16, 8)),
    Entry("fcn8s_resnet50", "FCN-8s on ResNet-50", "fcn", "pixelwise_cross_entropy", "log k", "Long et al. 2015",
          {"backbone": "resnet", "stride": 8}, *VOC,
          Small((32, 32, 3), 3, {"depth": 18, "stages": (1, 1, 1, 1), "width": 8}), metrics=("mean_iou", "accuracy")),
    Entry("deconvnet", "DeconvNet", "deconvnet", "pixelwise_cross_entropy", "log k", "Noh et al. 2015",
          {}, (224, 224, 3), 21, Small((8, 8, 3), 3, {**SMALL_STAGES, "units": 16}), metrics=("mean_iou", "accuracy")),
    Entry("segnet", "SegNet", "segnet", "pixelwise_cross_entropy", "log k", "Badrinarayanan et al. 2017",
          {}, (360, 480, 3), 11, Small((8, 8, 3), 3, SMALL_STAGES), metrics=("mean_iou", "accuracy")),
    Entry("encoder_decoder", "Strided and transposed convolutions", "encoder_decoder", "pixelwise_cross_entropy",
          "log k", "CS231n lecture 11", {}, (128, 128, 3), 3, Small((8, 8, 3), 3, {"channels": (8, 16)}),
          metrics=("mean_iou", "accuracy")),
)  # fmt: skip
"""Semantic segmentation: a class for every pixel."""

ENTRIES: tuple[Entry, ...] = (*CLASSIC, *DEEP, *SEQUENCES, *PIXELS)

NAMES = tuple(entry.name for entry in ENTRIES)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises: ValueError with the nearest names where there is none.
    """
    return by_name(ENTRIES, name, "models", "zoo", "jax231 models")
