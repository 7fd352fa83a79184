import jax
import jax.numpy as jnp
import pytest

from jax231.core import tree
from jax231.models import summary, zoo
from jax231.models.vgg import vgg
from jax231.nn.bridge import functionalize

SMALL = {"depth": 11, "channels": (2, 3, 3, 4, 4), "units": 5}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("vgg11_bn", 132_868_840),
        ("vgg13_bn", 133_053_736),
        ("vgg16_bn", 138_365_992),
        ("vgg19_bn", 143_678_248),
    ],
)
def test_parameters_are_those_of_torchvision(name, parameters):
    params, _ = jax.eval_shape(zoo.entry(name).build((224, 224, 3), 1000).init, jax.random.key(0))
    assert tree.size(params) == parameters


def test_the_table_of_the_course():
    """Lecture 9: activations and weights of VGG-16, layer by layer, without biases."""
    table = summary.of_entry(zoo.entry("vgg16"))
    found = [
        (row.kind.split(" ")[0], row.memory // 4, row.parameters - (row.output or (0,))[-1])
        for row in table.rows
        if row.kind.startswith(("Conv", "Affine"))
    ]
    stages = [(224, 3, 64, 2), (112, 64, 128, 2), (56, 128, 256, 3), (28, 256, 512, 3), (14, 512, 512, 3)]
    expected = []
    for side, cin, cout, count in stages:
        cins = (cin, *(cout,) * (count - 1))
        expected += [("Conv", side * side * cout, 9 * c * cout) for c in cins]
    fans = [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]
    expected += [("Affine", units, fan_in * units) for fan_in, units in fans]
    assert found == expected
    said = {"1728", "36864", "73728", "147456", "294912", "589824", "1179648", "2359296"}
    assert said | {"102760448", "16777216", "4096000"} == {str(weights) for *_, weights in expected}
    pooled = {row.memory // 4 for row in table.rows if row.kind.startswith("MaxPool")}
    assert pooled == {802_816, 401_408, 200_704, 100_352, 25_088}, "800K, 400K, 200K, 100K, 25K"
    assert (table.macs, round(table.parameters / 1e6)) == (15_470_264_320, 138)


def test_blocks_may_be_computed_again():
    nets = [functionalize(vgg((32, 32, 1), 3, remat=remat, dropout=0.0, **SMALL)) for remat in (False, True)]
    params, state = jax.eval_shape(nets[0].init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, 32, 32, 1), jnp.float32)
    for net, count in zip(nets, (0, 5), strict=True):
        run = lambda p, x, net=net: net.apply(p, state, x, train=False)[0]  # noqa: E731
        assert str(jax.make_jaxpr(run)(params, x)).count("remat2[") == count


def test_images_need_not_be_square():
    model = functionalize(vgg((33, 64, 1), 3, batch_norm=True, **SMALL))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    assert params["classifier"]["hidden"]["00"]["affine"]["kernel"].shape == (1 * 2 * 4, 5)
    x = jax.ShapeDtypeStruct((2, 33, 64, 1), jnp.float32)
    scores, _ = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, x)
    assert scores.shape == (2, 3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="vgg: expected a depth among 11, 13, 16, 19; got depth=12"):
        vgg((32, 32, 3), 10, depth=12)
    with pytest.raises(ValueError, match=r"vgg: expected channels of five stages; got channels=\(1, 2\)"):
        vgg((32, 32, 3), 10, channels=(1, 2))
    with pytest.raises(ValueError, match=r"vgg: expected images of at least 32x32; got shape=\(31, 64, 3\)"):
        vgg((31, 64, 3), 10)
    with pytest.raises(ValueError, match=r"vgg: expected images \(h, w, c\); got shape=\(32, 32\)"):
        vgg((32, 32), 10)


def test_images_of_another_size_are_refused_in_the_call():
    model = functionalize(vgg((32, 32, 1), 3, **SMALL))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"affine: expected the last axis .*; got x=\(2, 16\), weight=\(4, 5\)"):
        jax.eval_shape(lambda p, x: model.apply(p, state, x, train=False), params, jnp.ones((2, 64, 64, 1)))
