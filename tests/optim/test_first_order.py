"""What every first-order builder keeps, in one table; a new rule is a new line in `BUILDERS` and in `LOOPS`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.optim.adagrad import adagrad
from jax231.optim.adam import adam
from jax231.optim.family import coefficients, family
from jax231.optim.momentum import momentum
from jax231.optim.nesterov import nesterov, nesterov_lookahead, nesterov_optax
from jax231.optim.rmsprop import rmsprop
from jax231.optim.sgd import sgd
from tests.problems import quadratic
from tests.trajectories import replay, small_net, trajectory

BUILDERS = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "nesterov_optax": nesterov_optax,
    "nesterov_lookahead": nesterov_lookahead,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "family": lambda rate: family(rate, coefficients("adam")),
}
RATES = dict.fromkeys(BUILDERS, 0.002) | {"adagrad": 0.2, "rmsprop": 0.02, "adam": 0.05, "family": 0.05}
every_rule = pytest.mark.parametrize("name", BUILDERS)


# Each rule as the course or the paper prints it: g is the gradient, x moves in place.


def sgd_loop(x, gradients, rate):
    for g in gradients:
        x = x - rate * g
        yield x


def momentum_loop(x, gradients, rate, mu=0.9):
    v = 0
    for g in gradients:
        v = mu * v - rate * g
        x = x + v
        yield x


def nesterov_loop(x, gradients, rate, mu=0.9):
    v = 0
    for g in gradients:
        v_prev = v
        v = mu * v - rate * g
        x = x - mu * v_prev + (1 + mu) * v
        yield x


def adagrad_loop(x, gradients, rate, eps=1e-7):
    cache = 0
    for g in gradients:
        cache = cache + g**2
        x = x - rate * g / (np.sqrt(cache) + eps)
        yield x


def rmsprop_loop(x, gradients, rate, decay=0.9, eps=1e-8):
    cache = 0
    for g in gradients:
        cache = decay * cache + (1 - decay) * g**2
        x = x - rate * g / np.sqrt(cache + eps)
        yield x


def adam_loop(x, gradients, rate, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        x = x - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        yield x


LOOPS = {
    "sgd": sgd_loop,
    "momentum": momentum_loop,
    "nesterov": nesterov_loop,
    "nesterov_optax": nesterov_loop,
    "adagrad": adagrad_loop,
    "rmsprop": rmsprop_loop,
    "adam": adam_loop,
    "family": adam_loop,
}


def gradients_with_zeros(steps: int = 100, size: int = 7) -> np.ndarray:
    """Gradients of very different size; the last entry is always zero, the one before it for the first half."""
    rng = np.random.default_rng(3)
    gradients = rng.normal(size=(steps, size)) * np.geomspace(1e-3, 1e3, size)
    gradients[:, -1] = 0
    gradients[: steps // 2, -2] = 0
    return gradients


@pytest.mark.parametrize("name", LOOPS)
def test_a_rule_is_its_definition(name, x64):
    gradients = gradients_with_zeros()
    start = np.linspace(-1, 1, gradients.shape[1])
    expected = np.stack(list(LOOPS[name](start, gradients, RATES[name])))
    chex.assert_trees_all_close(replay(BUILDERS[name](RATES[name]), start, gradients), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("builder", "peer", "options"),
    [
        (sgd, "SGD", {}),
        (momentum, "SGD", {"momentum": 0.9}),
        (nesterov, "SGD", {"momentum": 0.9, "nesterov": True}),
        (nesterov_optax, "SGD", {"momentum": 0.9, "nesterov": True}),
        (lambda rate: adagrad(rate, eps=1e-10), "Adagrad", {}),
        (lambda rate: adagrad(rate, initial_accumulator=0.3, eps=1e-10), "Adagrad", {"initial_accumulator_value": 0.3}),
        (lambda rate: rmsprop(rate, eps_inside_root=False), "RMSprop", {"alpha": 0.9}),
        (adam, "Adam", {}),
    ],
    ids=["sgd", "momentum", "nesterov", "nesterov_optax", "adagrad", "adagrad-start", "rmsprop", "adam"],
)  # fmt: skip
def test_a_rule_is_that_of_pytorch(builder, peer, options, x64):
    torch = pytest.importorskip("torch")
    gradients = gradients_with_zeros()
    start = np.linspace(-1, 1, gradients.shape[1])
    x = torch.tensor(start, requires_grad=True)
    optimizer = getattr(torch.optim, peer)([x], lr=0.01, **options)
    expected = []
    for g in gradients:
        x.grad = torch.tensor(g)
        optimizer.step()
        expected.append(x.detach().numpy().copy())
    chex.assert_trees_all_close(replay(builder(0.01), start, gradients), np.stack(expected), rtol=1e-12, atol=1e-12)


@every_rule
def test_the_loss_of_a_quadratic_falls(name):
    fun, start, _, _ = quadratic(condition=100)
    start = jax.tree.map(jnp.float32, start)
    points = trajectory(BUILDERS[name], fun, start, np.full(60, RATES[name], np.float32))
    losses = jax.vmap(fun)(points)
    assert losses[-1] < 0.2 * fun(start)
    assert jnp.isfinite(losses).all()


@every_rule
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("traced", [True, False], ids=["traced", "static"])
def test_dtypes_are_kept_and_the_state_maps_onto_its_own_type(name, dtype, traced):
    with jax.enable_x64(dtype == "float64"):
        fun, start = small_net()
        params = jax.tree.map(lambda x: jnp.asarray(x, dtype), start)

        def init(rate):
            return BUILDERS[name](rate).init(params)

        def update(rate, state):
            grads = jax.grad(fun)(params)
            return BUILDERS[name](rate).update(grads, state, params, value_fn=fun)

        rate = jnp.asarray(0.1) if traced else 0.1
        state = jax.eval_shape(init, rate) if traced else jax.eval_shape(lambda: init(rate))
        updates, new = jax.eval_shape(update if traced else lambda _, s: update(rate, s), rate, state)
        assert jax.tree.map(kind, new) == jax.tree.map(kind, state)
        assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, new)))
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        wide = jnp.dtype("float64" if dtype == "float64" else "float32")
        assert {x.dtype for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)} <= {wide}


def kind(x):
    return x.shape, x.dtype, x.weak_type


def test_a_float64_rate_does_not_widen_float32_parameters(x64):
    params = {"w": jnp.ones(3, jnp.float32)}
    tx = adam(jnp.asarray(0.1), b2=jnp.asarray(0.999))
    updates, state = tx.update(params, tx.init(params))
    assert updates["w"].dtype == jnp.float32
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(params))


@every_rule
def test_one_program_serves_many_rates_and_vmap_gives_the_same(name):
    fun, start, _, _ = quadratic()
    start = jax.tree.map(jnp.float32, start)
    traces = []

    def last(rate):
        traces.append(rate)
        return trajectory(BUILDERS[name], fun, start, jnp.full(10, rate))["x"][-1]

    rates = jnp.array([0.3, 1.0, 2.0]) * RATES[name]
    lanes = list(map(jax.jit(last), rates))
    assert len(traces) == 1
    mapped = jax.jit(jax.vmap(last))(rates)
    chex.assert_trees_all_close(mapped, jnp.stack(lanes), rtol=1e-4, atol=1e-5)
    assert not np.allclose(lanes[0], lanes[2], atol=1e-4)


@every_rule
def test_zero_gradients_move_nothing_and_have_finite_derivatives(name):
    params = {"w": jnp.array([1.0, -2.0])}

    def moved(rate, scale):
        tx = BUILDERS[name](rate)
        grads = jax.tree.map(lambda x: scale * x, params)
        updates, _ = tx.update(grads, tx.init(params), params, value_fn=lambda p: scale * p["w"].sum())
        return updates["w"].sum()

    assert moved(0.1, 0.0) == 0
    if name != "adam":  # Optax's has no derivative there
        assert np.isfinite(jax.grad(moved, argnums=(0, 1))(0.1, 0.0)).all()


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "family"])
def test_a_schedule_is_a_rate_for_each_step(name, x64):
    fun, start, _, _ = quadratic()
    rates = RATES[name] / (1 + np.arange(20))
    builder = BUILDERS[name]
    by_schedule = trajectory(lambda _: builder(lambda step: RATES[name] / (1 + step)), fun, start, rates)
    chex.assert_trees_all_close(by_schedule, trajectory(builder, fun, start, rates), rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sgd(-0.1), r"sgd: expected rate above 0; got rate=-0.1"),
        (lambda: momentum(0.1, 1.5), r"momentum: expected decay within \[0, 1\]; got decay=1.5"),
        (lambda: nesterov(0.1, -0.5), r"nesterov: expected decay within \[0, 1\]; got decay=-0.5"),
        (lambda: nesterov_optax(0.1, 2.0), r"nesterov_optax: expected decay within"),
        (lambda: nesterov_lookahead(-1.0), r"nesterov_lookahead: expected rate above 0"),
        (lambda: adagrad(0.1, initial_accumulator=-1.0), r"adagrad: expected initial_accumulator of at least 0"),
        (lambda: rmsprop(0.1, eps=-1e-8), r"rmsprop: expected eps of at least 0; got eps=-1e-08"),
        (lambda: adam(0.1, b2=1.1), r"adam: expected b2 within \[0, 1\]; got b2=1.1"),
    ],
)
def test_numbers_out_of_range_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
