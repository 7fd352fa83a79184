"""The real weights, on photographs that scikit-image ships, where it is installed, and on plain images."""

import numpy as np
import pytest

from jax231.models import squeezenet_imagenet


def test_photographs_are_named_rightly(data_dir):
    data = pytest.importorskip("skimage.data")
    classifier = squeezenet_imagenet.squeezenet_imagenet(data_dir / "squeezenet_v1_0")
    for photograph, name, least in ((data.chelsea(), "Egyptian Mau", 0.4), (data.coffee(), "espresso", 0.8)):
        (guesses,) = squeezenet_imagenet.best(classifier, squeezenet_imagenet.preprocess(photograph))
        assert guesses[0][0] == name
        assert guesses[0][1] > least


def test_all_weights_find_their_places(data_dir):
    classifier = squeezenet_imagenet.squeezenet_imagenet(data_dir / "squeezenet_v1_0")
    with np.load(data_dir / "squeezenet_v1_0" / "squeezenet_v1_0.npz") as given:
        weight, bias = given["conv1/weight"], given["conv1/bias"]
    kernels = {k: v for k, v in classifier.params.items() if "kernel" in v}
    found = [v for v in kernels.values() if v["kernel"].shape == (7, 7, 3, 96)]
    np.testing.assert_array_equal(found[0]["kernel"], weight.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(found[0]["bias"], bias)
    assert len(classifier.classes) == 1000


def test_preprocessing_takes_the_middle_and_puts_blue_first():
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 50:350] = (10, 20, 30)
    found = squeezenet_imagenet.preprocess(image)
    np.testing.assert_allclose(
        found, np.broadcast_to(np.array([30 - 104, 20 - 117, 10 - 123.0]), (1, 227, 227, 3)), rtol=1e-5
    )
