"""From modules to pure functions: names, modes, keys, rates, taps, types; and the same numbers as plain NNX."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jax231.core import tree
from jax231.core.types import TappedLayer
from jax231.core.unoptimized import jit_unoptimized
from jax231.functional.activations import relu
from jax231.models.vgg import vgg
from jax231.nn.affine import Affine, DropConnect
from jax231.nn.bridge import functionalize, layer_names, rate_kinds, tapped_layers, watched_apply
from jax231.nn.conv import Conv
from jax231.nn.flatten import flatten
from jax231.nn.layer import Layer
from jax231.nn.noise import Dropout, DropPath
from jax231.nn.norm import BatchNorm
from jax231.nn.sequential import Sequential, rematerialized
from tests.derivatives import assert_derivatives, relative_error

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(6, 4, 4, 2)), jnp.float32)
LABELS = RNG.integers(0, 5, 6)
KEY = jax.random.key(1)


class Net(Layer):
    """A block with batch normalisation, dropout, and an affine map."""

    def __init__(self, rngs: nnx.Rngs, remat: bool = False):
        self.block = Sequential([Conv(2, 3, 3, padding=1, stride=2, rngs=rngs), BatchNorm(3, relu=True)])
        self.drop = Dropout(0.5, rngs=rngs)
        self.scores = Affine(12, 5, rngs=rngs)
        self.remat = remat

    def __call__(self, x):
        x = rematerialized(self.block, x) if self.remat else self.block(x)
        return self.scores(self.drop(flatten(x)))


MODEL = functionalize(Net)


@functools.cache
def start():
    return jit_unoptimized(MODEL.init)(jax.random.key(0))


@functools.cache
def compiled(train):
    @jax.jit
    def apply(params, state, x, key, rates):
        return MODEL.apply(params, state, x, train=train, key=key, rates=rates)

    return apply


def loss(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()


# Names and initialization


def test_arrays_are_named_by_strings():
    params, state = jax.tree.map(jnp.shape, start())
    conv = {"kernel": (3, 3, 2, 3), "bias": (3,)}
    assert params == {
        "block": {"layers": {"00": conv, "01": {"scale": (3,), "bias": (3,)}}},
        "scores": {"kernel": (12, 5), "bias": (5,)},
    }
    assert state == {"block": {"layers": {"01": {"mean": (3,), "var": (3,)}}}}
    module = nnx.eval_shape(lambda: Net(nnx.Rngs(0)))
    assert layer_names(module)[id(module.block[0])] == "block/layers/00"
    assert rate_kinds(lambda rngs: Sequential([DropPath(0.1, rngs=rngs), Net(rngs)])) == ("drop_path", "dropout")


def test_many_seeds_at_once_are_the_seeds_one_by_one():
    keys = jax.random.split(jax.random.key(0), 3)
    lanes = jax.jit(jax.vmap(MODEL.init))(keys)
    init = jax.jit(MODEL.init)
    chex.assert_trees_all_equal(lanes, jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(init, keys)))
    kernels = lanes[0]["scores"]["kernel"]
    assert (kernels[0] != kernels[1]).all()


def test_a_large_net_takes_no_memory_until_its_arrays_are_made():
    before = sum(x.nbytes for x in jax.live_arrays())
    model = functionalize(vgg((224, 224, 3), 1000, depth=19))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((8, 224, 224, 3), jnp.float32)
    y, _ = jax.eval_shape(lambda p, s, x: model.apply(p, s, x, train=False), params, state, x)
    assert (y.shape, tree.size(params)) == ((8, 1000), 143_667_240)
    assert sum(x.nbytes for x in jax.live_arrays()) - before < 10_000


def test_layers_of_flax_get_keys():
    class Foreign(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 3, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.linear(x))

    model, x = functionalize(Foreign), jnp.ones((4, 3))
    params, state = model.init(jax.random.key(0))
    whole, _ = model.apply(params, state, x, train=False)
    np.testing.assert_allclose(whole, x @ params["linear"]["kernel"], rtol=1e-6)
    draw = jax.jit(lambda key: model.apply(params, state, x, train=True, key=key)[0] == 0)
    masks = [draw(jax.random.key(seed)) for seed in (0, 0, 1)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()
    with pytest.raises(ValueError, match="apply: expected a key for the random layers in training"):
        model.apply(params, state, x, train=True)


# Modes, keys and rates


def test_state_moves_in_training_only():
    params, state = start()
    trained, moved = compiled(True)(params, state, X, KEY, {})
    evaluated, kept = compiled(False)(params, state, X, None, {})
    chex.assert_trees_all_equal(kept, state)
    z = np.asarray(relu_inputs(params), np.float64).reshape(-1, 3)
    expected = {"mean": 0.1 * z.mean(0), "var": 0.9 + 0.1 * z.var(0, ddof=1)}
    chex.assert_trees_all_close(moved["block"]["layers"]["01"], expected, rtol=1e-5)
    assert (trained != evaluated).any()
    chex.assert_trees_all_equal(compiled(False)(params, moved, X, None, {})[1], moved)


def relu_inputs(params):
    """What the batch normalisation reads."""
    seen = {}

    def watch(name, layer, inputs, output):
        seen[name] = output
        return output

    watched_apply(Net)(watch, params, start()[1], X)
    assert list(seen) == ["block/layers/00", "block/layers/01", "block", "drop", "scores", ""]
    return seen["block/layers/00"]


def test_traced_rates_compile_once_and_none_means_no_noise():
    params, state = start()
    apply = compiled(True)
    results = {rate: apply(params, state, X, KEY, {"dropout": jnp.float32(rate)})[0] for rate in (0.0, 0.3, 0.5, 1.0)}
    assert apply._cache_size() <= 2, "with rates and without"
    np.testing.assert_allclose(results[1.0], jnp.broadcast_to(params["scores"]["bias"], (6, 5)))
    np.testing.assert_array_equal(
        results[0.0], apply(params, state, X, jax.random.key(9), {"dropout": jnp.float32(0)})[0]
    )
    np.testing.assert_allclose(results[0.5], apply(params, state, X, KEY, {})[0], rtol=1e-6)
    assert (results[0.3] != results[0.5]).any()
    assert not np.array_equal(results[0.5], apply(params, state, X, jax.random.key(9), {})[0])


def test_each_layer_has_a_mask_of_its_own_in_every_call():
    class Twice(Layer):
        def __init__(self, rngs):
            self.one, self.other = Dropout(0.5, rngs=rngs), Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return {"one": self.one(x), "other": self.other(x), "again": self.one(x)}

    masks, _ = jax.jit(lambda key: functionalize(Twice).apply({}, {}, jnp.ones(64), train=True, key=key))(KEY)
    assert (masks["one"] != masks["other"]).any()
    assert (masks["one"] != masks["again"]).any()


def test_the_mean_weight_follows_the_rate_in_evaluation():
    model = functionalize(lambda rngs: DropConnect(3, 2, 0.5, rngs=rngs))
    params, state = model.init(jax.random.key(0))
    y, _ = model.apply(params, state, jnp.ones((1, 3)), train=False, rates={"dropconnect": 0.2})
    np.testing.assert_allclose(y, 0.8 * params["kernel"].sum(0, keepdims=True), rtol=1e-6)


# Taps


def test_taps_hand_out_inputs_and_gradients_of_pre_activations():
    params, state = start()
    layers = tapped_layers(Net)
    assert layers == {"block/layers/00": TappedLayer((2, 2), ((1, 1), (1, 1)), (1, 1)), "scores": TappedLayer()}
    zeros = {"block/layers/00": jnp.zeros((6, 2, 2, 3)), "scores": jnp.zeros((6, 5))}

    def tapped(probes, params):
        outputs, seen = MODEL.apply_tapped(params, probes, X, state=state, train=True, key=KEY)
        return loss(outputs), (outputs, seen)

    @jax.jit
    def everything(params):
        gradients, of_params = jax.grad(tapped, argnums=(0, 1), has_aux=True)(zeros, params)[0]
        outputs, seen = tapped(dict.fromkeys(layers, 0.0), params)[1]
        plain = MODEL.apply(params, state, X, train=True, key=KEY)[0]
        return gradients, of_params, outputs, plain, seen

    gradients, of_params, outputs, plain, seen = everything(params)
    np.testing.assert_array_equal(outputs, plain)
    np.testing.assert_array_equal(seen["block/layers/00"], X)
    expected = (jax.nn.softmax(outputs) - jax.nn.one_hot(LABELS, 5)) / 6
    np.testing.assert_allclose(gradients["scores"], expected, atol=1e-6)
    kernel = of_params["scores"]["kernel"]
    np.testing.assert_allclose(seen["scores"].T @ gradients["scores"], kernel, rtol=1e-4, atol=1e-6)
    patches = jax.lax.conv_general_dilated_patches(
        X, (3, 3), (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    kernel = of_params["block"]["layers"]["00"]["kernel"].transpose(2, 0, 1, 3).reshape(18, 3)
    found = jnp.einsum("nhwd,nhwu->du", patches, gradients["block/layers/00"])
    np.testing.assert_allclose(found, kernel, rtol=1e-4, atol=1e-6)


def test_taps_of_some_layers_of_others_and_of_layers_called_twice():
    params, state = start()
    _, seen = jax.eval_shape(lambda p: MODEL.apply_tapped(params, p, X, state=state), {"scores": 0.0})
    assert jax.tree.map(jnp.shape, seen) == {"scores": (6, 12)}
    with pytest.raises(
        ValueError, match=r"apply_tapped: expected probes .*; got unknown=\['drop'\], layers=\['bl.*'\]"
    ):
        MODEL.apply_tapped(params, {"drop": 0.0}, X, state=state)

    def twice(rngs):
        shared = Affine(3, 3, rngs=rngs)
        return Sequential([shared, relu, shared])

    model = functionalize(twice)
    params, _ = model.init(jax.random.key(0))
    assert set(params["layers"]) == {"00"}
    with pytest.raises(ValueError, match="layers that are called once; got called_again='layers/00'"):
        model.apply_tapped(params, {"layers/00": 0.0}, jnp.ones((2, 3)))


def test_convolutions_in_groups_are_no_kronecker_products():
    layers = tapped_layers(lambda rngs: Sequential([Conv(4, 4, 3, groups=2, rngs=rngs), Conv(4, 2, 3, rngs=rngs)]))
    assert layers == {"layers/01": TappedLayer()}


# Derivatives, lanes, types


def test_second_derivatives_through_a_training_step(x64):
    model = functionalize(lambda rngs: Sequential([Affine(2, 3, rngs=rngs), BatchNorm(3), jnp.tanh, Net2(rngs)]))
    params, state = model.init(jax.random.key(0))
    x = jnp.asarray(RNG.normal(size=(5, 2)))
    assert_derivatives(lambda p: model.apply(p, state, x, train=True, key=KEY)[0], params)


class Net2(Layer):
    """Dropout and an affine map."""

    def __init__(self, rngs: nnx.Rngs):
        self.drop, self.affine = Dropout(0.3, rngs=rngs), Affine(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.affine(self.drop(x))


def test_parameters_keys_and_rates_are_lanes():
    params, state = start()
    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), params)
    keys, rates = jax.random.split(KEY, 2), jnp.array([0.1, 0.6])

    def apply(params, key, rate):
        return MODEL.apply(params, state, X, train=True, key=key, rates={"dropout": rate})

    lanes = jax.jit(jax.vmap(apply))(many, keys, rates)
    alone = compiled(True)(jax.tree.map(lambda x: x[1], many), state, X, keys[1], {"dropout": rates[1]})
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], lanes), alone, rtol=1e-5, atol=1e-6)


def test_frozen_layers_are_evaluated_in_training():
    """Batch norm of which only a part stands still moves its statistics."""
    params, state = start()

    def trained(*frozen):
        model = functionalize(Net, frozen=lambda name: name in frozen)
        return jax.jit(functools.partial(model.apply, train=True, rates={"dropout": 0.0}))(params, state, X, key=KEY)

    part, whole = "block/layers/01/scale", ("block/layers/01/scale", "block/layers/01/bias")
    chex.assert_trees_all_equal(trained(*whole)[1], state)
    chex.assert_trees_all_close(
        trained(*whole)[0], compiled(False)(params, state, X, None, {})[0], rtol=1e-5, atol=1e-5
    )
    assert not np.array_equal(trained(part)[1]["block"]["layers"]["01"]["mean"], state["block"]["layers"]["01"]["mean"])
    chex.assert_trees_all_equal(trained(part), trained())


def test_blocks_are_computed_again_by_a_flag():
    remat = functionalize(functools.partial(Net, remat=True))
    params, state = start()

    def gradient(model):
        return jax.grad(lambda p: loss(model.apply(p, state, X, train=True, key=KEY)[0]))

    assert "remat" in str(jax.make_jaxpr(gradient(remat))(params))
    plain, again = jax.jit(lambda p: [gradient(m)(p) for m in (MODEL, remat)])(params)
    errors = jax.tree.map(relative_error, again, plain)
    assert max(jax.tree.leaves(errors)) <= 1e-5, errors


def test_a_narrow_type_is_computed_in_and_nowhere_kept():
    params, state = start()
    narrow, types = functionalize(Net, dtype=jnp.bfloat16), {}

    def watch(name, layer, inputs, output):
        types[name] = output.dtype
        return output

    shapes = jax.eval_shape(lambda p: narrow.apply(p, state, X, train=True, key=KEY), params)
    jax.eval_shape(lambda p: watched_apply(Net, dtype="bfloat16")(watch, p, state, X), params)
    made = jax.eval_shape(narrow.init, KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves((made, shapes))} == {jnp.dtype(jnp.float32)}
    assert set(types.values()) == {jnp.dtype(jnp.bfloat16)}
    wide = compiled(False)(params, state, X, None, {})[0]
    found = jax.jit(lambda p: narrow.apply(p, state, X, train=False)[0])(params)
    assert 0 < jnp.linalg.norm(found - wide) <= 0.02 * jnp.linalg.norm(wide)


def test_a_narrow_type_without_parameters():
    model = functionalize(lambda rngs: Sequential([relu, Dropout(0.5, rngs=rngs)]), dtype=jnp.bfloat16)
    for dtype in (jnp.float32, jnp.bfloat16):
        x = jax.ShapeDtypeStruct((2, 3), dtype)
        assert jax.eval_shape(lambda x: model.apply({}, {}, x, train=True, key=KEY)[0], x).dtype == dtype


# What is refused


def test_arrays_of_another_model_are_named():
    params, state = start()
    swapped = {**params, "scores": {"kernel": params["scores"]["kernel"].T, "bias": jnp.zeros(6)}}
    shapes = r"scores/kernel \(5, 12\) instead of \(12, 5\)"
    with pytest.raises(ValueError, match=rf"apply: expected the params .*; got of another shape: .*{shapes}"):
        MODEL.apply(swapped, state, X, train=False)
    other = {"head": params["scores"], "block": params["block"]}
    names = "missing: scores/bias, scores/kernel; unknown: head/bias, head/kernel"
    with pytest.raises(ValueError, match=f"apply: expected the params of this model; got {names}$"):
        MODEL.apply(other, state, X, train=False)
    with pytest.raises(ValueError, match=r"apply: expected the state of this model; got missing: .*mean, .*var$"):
        MODEL.apply(params, {}, X, train=False)
    many = {str(place): jnp.zeros(1) for place in range(9)}
    with pytest.raises(ValueError, match=r"unknown: 0, 1, 2, 3, 4, 5 and 3 more$"):
        MODEL.apply({**params, **many}, state, X, train=False)


def test_rates_and_keys_that_are_not_there():
    params, state = start()
    with pytest.raises(ValueError, match=r"got unknown=\['drop'\], known=\['dropout'\]"):
        MODEL.apply(params, state, X, train=True, key=KEY, rates={"drop": 0.1})
    with pytest.raises(ValueError, match=r"a key for the random layers in training; got kinds=\['dropout'\], key=None"):
        MODEL.apply(params, state, X, train=True)
    with pytest.raises(ValueError, match=r"apply: expected dropout within \[0, 1\]; got dropout=1.5"):
        jax.jit(lambda p: MODEL.apply(p, state, X, train=True, key=KEY, rates={"dropout": 1.5}))(params)


def test_arrays_outside_of_variables_are_refused():
    class Bare(nnx.Module):
        def __init__(self, rngs):
            self.weight, self.offset = nnx.Param(jnp.ones(3)), jax.random.normal(rngs.params(), 3)

    with pytest.raises(ValueError, match=r"functionalize: expected arrays within variables, .*bare=\['offset'\]"):
        functionalize(Bare).init(KEY)


def test_a_module_and_a_type_of_integers_are_refused():
    with pytest.raises(ValueError, match=r"functionalize: expected constructor\(rngs\) -> module, not the module; got"):
        functionalize(nnx.eval_shape(lambda: Net(nnx.Rngs(0))))
    with pytest.raises(ValueError, match="compute_in: expected a floating type"):
        jax.eval_shape(functionalize(Net, dtype=jnp.int8).init, KEY)


# Plain NNX


def test_plain_nnx_gives_the_same_numbers():
    """Three steps of SGD with momentum: `nnx.jit` and `nnx.Optimizer` here, pure functions there."""
    tx = optax.sgd(0.1, momentum=0.9)
    module = Net(nnx.Rngs(jax.random.key(0)))
    module.drop.rate[...] = 0.0  # the two forms draw their keys in different ways
    optimizer = nnx.Optimizer(module, tx, wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer):
        value, grads = nnx.value_and_grad(lambda module: loss(module(X)))(module)
        optimizer.update(module, grads)
        return value

    values = [step(module, optimizer) for _ in range(3)]

    @jax.jit
    def pure(params, state, opt):
        def objective(params):
            logits, new = MODEL.apply(params, state, X, train=True, key=KEY, rates={"dropout": 0.0})
            return loss(logits), new

        (value, state), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt = tx.update(grads, opt, params)
        return value, optax.apply_updates(params, updates), state, opt

    params, state = start()
    opt, expected = tx.init(params), []
    for _ in range(3):
        value, params, state, opt = pure(params, state, opt)
        expected.append(value)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert values[2] < values[0]
    moved = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    chex.assert_trees_all_close(moved["scores"], params["scores"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(module.block[1].mean[...], state["block"]["layers"]["01"]["mean"], rtol=1e-5)
    module.eval()
    np.testing.assert_allclose(module(X), MODEL.apply(params, state, X, train=False)[0], rtol=1e-4, atol=1e-5)


def test_a_module_can_be_displayed(capsys):
    nnx.display(Affine(12, 5, rngs=nnx.Rngs(0)))
    shown = capsys.readouterr().out
    assert "Affine(" in shown
    assert "kernel=Param(" in shown
