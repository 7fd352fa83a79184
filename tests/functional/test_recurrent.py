import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.functional.recurrent import (
    embedding,
    lstm,
    lstm_step,
    lstm_zero_carry,
    output_map,
    rnn,
    rnn_step,
    rnn_zero_carry,
    stacked_lstm,
    stacked_lstm_step,
    stacked_rnn,
    stacked_rnn_step,
)
from tests.derivatives import assert_derivatives, relative_error

N, T, D, H = 3, 5, 4, 2
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((N, T, D))
MASK = np.arange(T) < np.array([5, 2, 0])[:, None]


def layer(gates, d=D, h=H, seed=1):
    rng = np.random.default_rng(seed)
    shapes = {"wx": (d, gates * h), "wh": (h, gates * h), "b": (gates * h,)}
    return {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}


def single(a):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), a)


RNN, LSTM = layer(1), layer(4)
H0, C0 = RNG.standard_normal((2, N, H))
KINDS = [
    pytest.param(rnn, rnn_step, RNN, H0, id="rnn"),
    pytest.param(lstm, lstm_step, LSTM, (H0, C0), id="lstm"),
]
STACKS = [
    pytest.param(
        stacked_rnn, stacked_rnn_step, rnn, (RNN, layer(1, H, 3, seed=2)), (H0, np.ones((N, 3))), id="stacked_rnn"
    ),
    pytest.param(
        stacked_lstm,
        stacked_lstm_step,
        lstm,
        (LSTM, layer(4, H, 3, seed=2)),
        ((H0, C0), (np.ones((N, 3)), np.zeros((N, 3)))),
        id="stacked_lstm",
    ),
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_by_loop(params, h, xs):
    """The recurrence for one sequence, unit by unit."""
    ys = []
    for x in xs:
        new = np.empty_like(h)
        for u in range(len(h)):
            new[u] = np.tanh(x @ params["wx"][:, u] + h @ params["wh"][:, u] + params["b"][u])
        h = new
        ys.append(h)
    return h, np.array(ys).reshape(len(xs), -1)


def lstm_by_loop(params, h, c, xs):
    """The recurrence for one sequence, gate by gate: i, f, o, g."""
    size, ys = len(h), []
    for x in xs:
        z = [
            x @ params["wx"][:, block] + h @ params["wh"][:, block] + params["b"][block]
            for block in (slice(gate * size, (gate + 1) * size) for gate in range(4))
        ]
        i, f, o, g = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
        c = f * c + i * g
        h = o * np.tanh(c)
        ys.append(h)
    return h, c, np.array(ys).reshape(len(xs), -1)


def test_rnn_is_its_definition():
    h, ys = jax.jit(rnn)(*single((RNN, H0, XS)))
    expected = [rnn_by_loop(RNN, H0[i], XS[i]) for i in range(N)]
    assert relative_error(h, [e[0] for e in expected]) <= 1e-6
    assert relative_error(ys, [e[1] for e in expected]) <= 1e-6


def test_lstm_is_its_definition():
    (h, c), ys = jax.jit(lstm)(*single((LSTM, (H0, C0), XS)))
    expected = [lstm_by_loop(LSTM, H0[i], C0[i], XS[i]) for i in range(N)]
    for actual, e in zip((h, c, ys), zip(*expected, strict=True), strict=True):
        assert relative_error(actual, e) <= 1e-6


@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_the_scan_is_a_loop_of_steps(run, step, params, carry):
    params, carry, xs = single((params, carry, XS))
    whole = run(params, carry, xs)
    outputs, step = [], jax.jit(step)
    for t in range(T):
        carry, y = step(params, carry, xs[:, t])
        outputs.append(y)
    chex.assert_trees_all_close(whole, (carry, jnp.stack(outputs, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_a_long_sequence_is_two_calls(run, step, params, carry):
    params, carry, xs = single((params, carry, XS))
    middle, first = run(params, carry, xs[:, :2])
    end, second = run(params, middle, xs[:, 2:])
    chex.assert_trees_all_close(
        run(params, carry, xs), (end, jnp.concatenate([first, second], 1)), rtol=1e-5, atol=1e-6
    )
    chex.assert_trees_all_equal(run(params, carry, xs[:, :0]), (carry, jnp.zeros((N, 0, H))))


@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_a_mask_is_truncation(run, step, params, carry):
    params, carry, xs = single((params, carry, XS))
    end, ys = jax.jit(lambda *a: run(*a, mask=MASK))(params, carry, xs)
    chex.assert_trees_all_equal(ys * ~MASK[..., None], jnp.zeros_like(ys))
    for i, length in enumerate((5, 2, 0)):
        alone, outputs = run(params, jax.tree.map(lambda s, i=i: s[i : i + 1], carry), xs[i : i + 1, :length])
        chex.assert_trees_all_close(jax.tree.map(lambda s, i=i: s[i : i + 1], end), alone, rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(ys[i : i + 1, :length], outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_a_gap_in_the_mask_is_as_if_the_step_were_not_there(run, step, params, carry):
    params, carry, xs = single((params, carry, XS))
    mask = np.ones((N, T), bool)
    mask[:, 2] = False
    end, ys = run(params, carry, xs, mask=mask)
    shorter = run(params, carry, jnp.delete(xs, 2, axis=1))
    chex.assert_trees_all_close((end, jnp.delete(ys, 2, axis=1)), shorter, rtol=1e-5, atol=1e-6)


def test_a_saturated_forget_gate_carries_the_cell_unchanged():
    blocks = np.repeat([-1e4, 1e4, 0.0, 0.0], H)  # nothing in, nothing forgotten
    params = {"wx": np.zeros((D, 4 * H)), "wh": np.zeros((H, 4 * H)), "b": blocks}
    (_, c), _ = lstm(*single((params, (H0, C0), XS)))
    chex.assert_trees_all_equal(c, single(C0))
    slope = jax.grad(
        lambda c0: lstm(
            *single(
                (
                    params,
                    (
                        H0,
                        c0,
                    ),
                    XS,
                )
            )
        )[0][1].sum()
    )(single(C0))
    chex.assert_trees_all_equal(slope, jnp.ones((N, H)))


@pytest.mark.parametrize(("run", "step", "one", "layers", "carries"), STACKS)
def test_a_stack_runs_layer_by_layer_as_it_steps(run, step, one, layers, carries):
    layers, carries, xs = single((layers, carries, XS))
    end, ys = jax.jit(run)(layers, carries, xs)
    below, middle = one(layers[0], carries[0], xs)
    above, top = one(layers[1], carries[1], middle)
    chex.assert_trees_all_close((end, ys), ((below, above), top), rtol=1e-5, atol=1e-6)
    outputs, step = [], jax.jit(step)
    for t in range(T):
        carries, y = step(layers, carries, xs[:, t])
        outputs.append(y)
    chex.assert_trees_all_close((end, ys), (carries, jnp.stack(outputs, 1)), rtol=1e-5, atol=1e-6)


def test_stacks_pass_the_mask_on():
    layers, carries, xs = single(((LSTM, layer(4, H, H)), [(H0, C0)] * 2, XS))
    end, ys = stacked_lstm(layers, carries, xs, mask=MASK)
    alone, outputs = stacked_lstm(layers, jax.tree.map(lambda s: s[1:2], carries), xs[1:2, :2])
    chex.assert_trees_all_close(jax.tree.map(lambda s: s[1:2], end), tuple(alone), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(ys[1:2, :2], outputs, rtol=1e-5, atol=1e-6)
    assert bool(jnp.all(ys[2] == 0))


def test_the_multilayer_formula_of_the_course():
    """h_t^l = tanh(W^l [h_t^(l-1); h_(t-1)^l]) with W^l (n, 2n), column vectors, no bias."""
    n = 3
    w = RNG.standard_normal((2, n, 2 * n))
    x, h1, h2 = RNG.standard_normal((3, n))
    new1 = np.tanh(w[0] @ np.concatenate([x, h1]))
    new2 = np.tanh(w[1] @ np.concatenate([new1, h2]))
    layers = [{"wx": m[:, :n].T, "wh": m[:, n:].T, "b": np.zeros(n)} for m in w]
    states, y = stacked_rnn_step(*single((layers, [h1[None], h2[None]], x[None])))
    for actual, expected in zip((*states, y), (new1, new2, new2), strict=True):
        assert relative_error(actual[0], expected) <= 1e-6


def test_zero_carries_output_map_and_embedding():
    params = single(LSTM)
    chex.assert_trees_all_equal(lstm_zero_carry(params, 2), (jnp.zeros((2, H)), jnp.zeros((2, H))))
    assert rnn_zero_carry({"wh": jnp.zeros((H, H), jnp.bfloat16)}, 2).dtype == jnp.bfloat16
    w, b = RNG.standard_normal((H, 7)), RNG.standard_normal(7)
    h = RNG.standard_normal((N, T, H))
    assert relative_error(output_map(single({"wy": w}), single(h)), h @ w) <= 1e-6
    assert relative_error(output_map(single({"wy": w, "b": b}), single(h)), h @ w + b) <= 1e-6
    tokens = np.array([[0, 6], [3, 3]])
    table = single(w.T)
    chex.assert_trees_all_equal(embedding(table, tokens), table[tokens])
    one_hot = jax.nn.one_hot(tokens, 7)
    chex.assert_trees_all_close(embedding(table, tokens), one_hot @ table, rtol=1e-6)
    slope = jax.grad(lambda table: embedding(table, tokens).sum())(table)
    chex.assert_trees_all_equal(slope, jnp.zeros((7, H)).at[np.array([0, 6])].set(1).at[3].set(2))
    rows = jax.jit(embedding)(table, np.array([-1, 0, 7]))
    chex.assert_trees_all_equal(jnp.isnan(rows[:, 0]), jnp.array([True, False, True]))


@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_bfloat16_keeps_the_types_of_the_carry_and_sums_in_float32(run, step, params, carry):
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (params, carry, XS))
    end, ys = run(*narrow)
    assert {a.dtype for a in jax.tree.leaves((end, ys))} == {jnp.dtype(jnp.bfloat16)}
    wide = run(*jax.tree.map(lambda a: a.astype(jnp.float32), narrow))
    chex.assert_trees_all_close(jax.tree.map(lambda a: a.astype(jnp.float32), (end, ys)), wide, atol=2e-2)
    gradients = jax.grad(lambda p: run(p, *narrow[1:])[1].astype(jnp.float32).sum())(narrow[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, narrow[0])


def test_a_float32_cell_goes_with_a_bfloat16_hidden_state():
    params, h, xs = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (LSTM, H0, XS))
    (h, c), ys = lstm(params, (h, jnp.zeros((N, H))), xs)
    assert (h.dtype, c.dtype, ys.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_derivatives(run, step, params, carry):
    args = jax.tree.map(jnp.asarray, (params, carry, XS[:, :3]))
    assert_derivatives(run, *args)
    gaps = np.array([[True, False, True], [True, True, False], [False, False, False]])
    assert_derivatives(lambda *a: run(*a, mask=gaps), *args)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("run", "step", "params", "carry"), KINDS)
def test_derivatives_through_the_scan_are_those_of_the_loop_also_under_vmap(run, step, params, carry):
    params, carry, xs = jax.tree.map(jnp.asarray, (params, carry, XS[:, :3]))
    lanes = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p]), params)

    def by_scan(params):
        return jnp.square(run(params, carry, xs)[1]).sum()

    def by_loop(params):
        state, total = carry, 0.0
        for t in range(3):
            state, y = step(params, state, xs[:, t])
            total += jnp.square(y).sum()
        return total

    def product(loss):
        return jax.jit(jax.vmap(lambda p: jax.jvp(jax.grad(loss), (p,), (p,))))(lanes)

    chex.assert_trees_all_close(product(by_scan), product(by_loop), rtol=1e-10, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_derivatives_of_a_stack_with_embedding_and_output_map():
    layers, carries, tokens = (LSTM, layer(4, H, H)), [(H0, C0)] * 2, np.array([[0, 1], [2, 2], [1, 0]])
    table, wy = RNG.standard_normal((3, D)), RNG.standard_normal((H, 3))

    def logits(layers, table, wy):
        return output_map({"wy": wy}, stacked_lstm(layers, carries, embedding(table, tokens))[1])

    assert_derivatives(logits, *jax.tree.map(jnp.asarray, (layers, table, wy)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_recurrences_and_their_gradients_are_those_of_pytorch(kind):
    torch = pytest.importorskip("torch")
    gates = {"RNN": 1, "LSTM": 4}[kind]
    layers = [layer(gates), layer(gates, H, H, seed=2)]
    theirs = getattr(torch.nn, kind)(D, H, num_layers=2, batch_first=True, dtype=torch.float64)

    def reorder(w):
        """Our columns i f o g as PyTorch's rows i f g o."""
        if gates == 1:
            return w.T
        i, f, o, g = np.split(w.T, 4)
        return np.concatenate([i, f, g, o])

    with torch.no_grad():
        for number, params in enumerate(layers):
            getattr(theirs, f"weight_ih_l{number}").copy_(torch.tensor(reorder(params["wx"])))
            getattr(theirs, f"weight_hh_l{number}").copy_(torch.tensor(reorder(params["wh"])))
            getattr(theirs, f"bias_ih_l{number}").copy_(torch.tensor(reorder(params["b"])))
            getattr(theirs, f"bias_hh_l{number}").zero_()
    starts = [(torch.tensor(np.stack([a] * 2))) for a in (H0, C0)]
    outputs, last = theirs(torch.tensor(XS), starts[0] if kind == "RNN" else tuple(starts))
    outputs.square().sum().backward()

    def loss(layers):
        if kind == "RNN":
            end, ys = stacked_rnn(layers, [H0] * 2, XS)
        else:
            end, ys = stacked_lstm(layers, [(H0, C0)] * 2, XS)
        return jnp.square(ys).sum(), (end, ys)

    (_, (end, ys)), gradients = jax.value_and_grad(loss, has_aux=True)(jax.tree.map(jnp.asarray, layers))
    chex.assert_trees_all_close(ys, outputs.detach().numpy(), rtol=1e-12)
    hidden = last.detach().numpy() if kind == "RNN" else last[0].detach().numpy()
    chex.assert_trees_all_close(jnp.stack([e if kind == "RNN" else e[0] for e in end]), hidden, rtol=1e-12)
    if kind == "LSTM":
        chex.assert_trees_all_close(jnp.stack([c for _, c in end]), last[1].detach().numpy(), rtol=1e-12)
    for number, gradient in enumerate(gradients):
        for name, weight in (("wx", "weight_ih"), ("wh", "weight_hh"), ("b", "bias_ih")):
            expected = getattr(theirs, f"{weight}_l{number}").grad.numpy()
            assert relative_error(reorder(np.asarray(gradient[name])), expected) <= 1e-10


def test_errors_name_what_does_not_fit():
    with pytest.raises(ValueError, match=r"rnn: expected xs with 3 axes \(n t d\); got xs=\(3, 4\)"):
        rnn(RNN, H0, XS[:, 0])
    with pytest.raises(
        ValueError, match=r"lstm: expected wx \(d, 4h\), .*; got wx=\(4, 2\), .*, b=\(2,\), x=\(3, 5, 4\)"
    ):
        lstm(RNN, (H0, C0), XS)
    with pytest.raises(ValueError, match=r"rnn_step: expected x with 2 axes \(n d\); got x=\(3, 3, 4\)"):
        rnn_step(RNN, H0, XS[:, :3])
    with pytest.raises(ValueError, match=r"lstm_step: expected x with 2 axes \(n d\); got x=\(3, 3, 4\)"):
        lstm_step(LSTM, (H0, C0), XS[:, :3])
    with pytest.raises(ValueError, match=r"rnn_step: expected wx \(d, h\), .*x=\(3, 3\)"):
        rnn_step(RNN, H0, XS[:, 0, :3])
    with pytest.raises(ValueError, match=r"lstm_step: expected params with wx, wh and b; got params=\{'wx', 'wh'\}"):
        lstm_step({"wx": LSTM["wx"], "wh": LSTM["wh"]}, (H0, C0), XS[:, 0])
    with pytest.raises(ValueError, match=r"lstm: expected c0 of shape \(3, 2\), one state a sequence; got c0=\(1, 2\)"):
        lstm(LSTM, (H0, C0[:1]), XS)
    with pytest.raises(ValueError, match=r"rnn: expected a mask of booleans \(n, t\) .*; got mask=\(5, 3\)"):
        rnn(RNN, H0, XS, mask=MASK.T)
    with pytest.raises(ValueError, match=r"rnn: expected a mask of booleans"):
        rnn(RNN, H0, XS, mask=MASK.astype(np.float32))
    with pytest.raises(ValueError, match=r"stacked_rnn: expected one carry for each .*; got layers=2, carries=1"):
        stacked_rnn([RNN, RNN], [H0], XS)
    with pytest.raises(ValueError, match=r"output_map: expected wy \(h, k\) for h .*; got h=\(3, 2\), wy=\(3, 2\)"):
        output_map({"wy": np.ones((3, 2))}, H0)
    with pytest.raises(ValueError, match=r"output_map: expected params with wy.*; got params=\{'w'\}"):
        output_map({"w": np.ones((2, 2))}, H0)
    with pytest.raises(ValueError, match=r"embedding: expected tokens within \[0, 4\); got smallest=0, largest=4"):
        embedding(np.ones((4, 2)), np.array([0, 4]))
    with pytest.raises(ValueError, match=r"embedding: expected tokens of an integer type"):
        embedding(np.ones((4, 2)), np.eye(4))
