import jax
import numpy as np
import pytest

from jax231.core import tree
from jax231.models.lenet import lenet
from jax231.nn.bridge import functionalize
from tests import references


@pytest.mark.parametrize(("shape", "padding"), [((32, 32, 1), 0), ((28, 28, 1), 2)])
def test_parameters_are_those_of_lenet_5(shape, padding):
    params, _ = jax.eval_shape(functionalize(lenet(shape, 10, padding=padding)).init, jax.random.key(0))
    assert tree.size(params) == 61_706
    kernels = {name: layer["kernel"].shape for name, layer in params.items()}
    assert kernels == {
        "c1": (5, 5, 1, 6),
        "c3": (5, 5, 6, 16),
        "c5": (400, 120),
        "f6": (120, 84),
        "output": (84, 10),
    }


@pytest.mark.parametrize(("activation", "pool"), [("tanh", "avg"), ("relu", "max")])
def test_it_is_its_figure(activation, pool):
    model = functionalize(lenet((13, 14, 1), 3, padding=2, activation=activation, pool=pool))
    shapes, state = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)
    x = rng.normal(size=(2, 13, 14, 1)).astype(np.float32)
    found, _ = jax.jit(lambda p, x: model.apply(p, state, x, train=False))(params, x)
    f = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}[activation]
    for name, border in (("c1", 2), ("c3", 0)):
        x = f(references.conv2d(x, params[name]["kernel"], padding=((border, border),) * 2) + params[name]["bias"])
        pooled = {"avg": references.avg_pool, "max": references.max_pool}[pool](x, (2, 2), (2, 2))
        x = pooled if pool == "avg" else pooled[0]
    x = x.reshape(2, -1)
    for name in ("c5", "f6", "output"):
        x = (f if name != "output" else np.asarray)(x @ np.asarray(params[name]["kernel"]) + params[name]["bias"])
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"lenet: expected images of at least 16x16 with .*; got shape=\(15, 16, 1\)"):
        lenet((15, 16, 1), 10)
    with pytest.raises(ValueError, match=r"lenet: expected images \(h, w, c\); got shape=\(784,\)"):
        lenet((784,), 10)
    with pytest.raises(ValueError, match=r"lenet: expected a padding of at least 0; got padding=-1"):
        lenet((32, 32, 1), 10, padding=-1)
    with pytest.raises(ValueError, match=r"lenet: expected tanh or relu; got activation='elu'"):
        lenet((32, 32, 1), 10, activation="elu")
    with pytest.raises(ValueError, match=r"lenet: expected a pool among avg, max; got pool='min'"):
        lenet((32, 32, 1), 10, pool="min")
