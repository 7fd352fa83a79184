"""K-FAC: natural gradient with a Kronecker product in the place of each layer's block of the Fisher information."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jax231.core import tree
from jax231.core.checks import require, require_nonnegative, require_rate
from jax231.core.precision import statistics_dtype
from jax231.core.types import Key, PyTree, Scalar, TappedLayer
from jax231.curvature.products import linearized_ggnvp
from jax231.optim import counts
from jax231.optim.arguments import required
from jax231.optim.flat import flatten, ravel
from jax231.optim.gauss_newton import adapted, reduction_ratio
from jax231.optim.linesearch import backtracking

Leaves = dict[str, Array]
"""Arrays by the names of the leaves of the parameters, ``"conv1/kernel"``."""


Layer = TappedLayer


class Factors(NamedTuple):
    """Second moments of a layer's inputs, with 1 for the bias, and of the gradients of its pre-activations."""

    inputs: Float[Array, "d d"]
    outputs: Float[Array, "u u"]


class KfacState(NamedTuple):
    """What was used, the damping of the next step, running averages of the factors, their inverses, and the last step.

    `ratio` is the decrease of the loss over the one that the model promised (`gauss_newton.reduction_ratio`); `stalled`
    tells that no decrease was found.
    """

    counts: counts.Counts
    damping: Float[Array, ""]
    factors: dict[str, Factors]
    inverses: dict[str, Factors]
    step: Float[Array, " n"]
    ratio: Float[Array, ""]
    iterations: Int[Array, ""]
    stalled: Bool[Array, ""]


class Block(NamedTuple):
    """The parameters of one layer as a matrix (d, u), the bias as its last row."""

    layer: Layer
    kernel: str
    bias: str | None

    def matrix(self, leaves: Leaves) -> Float[Array, "d u"]:
        """Kernel and bias among the `leaves`; d runs over cin, kh, kw where the kernel is a convolution's."""
        kernel = leaves[self.kernel]
        flat = kernel if kernel.ndim == 2 else jnp.transpose(kernel, (2, 0, 1, 3)).reshape(-1, kernel.shape[-1])
        return flat if self.bias is None else jnp.concatenate([flat, leaves[self.bias][None]])

    def leaves(self, matrix: Float[Array, "d u"], like: Leaves) -> Leaves:
        """The inverse of `matrix`, with kernels of the shape that those of `like` have."""
        found = {} if self.bias is None else {self.bias: matrix[-1]}
        flat = matrix if self.bias is None else matrix[:-1]
        shape = like[self.kernel].shape
        if len(shape) == 4:
            kh, kw, cin, cout = shape
            flat = jnp.transpose(flat.reshape(cin, kh, kw, cout), (1, 2, 0, 3))
        return found | {self.kernel: flat}

    def seen(self, inputs: Array, leaves: Leaves) -> Float[Array, "n *positions d"]:
        """What the matrix is multiplied with at every position: the inputs or their patches, and a 1 for the bias."""
        kernel = leaves[self.kernel]
        if kernel.ndim == 4:
            stride, padding, dilation = self.layer
            inputs = jax.lax.conv_general_dilated_patches(
                inputs, kernel.shape[:2], stride, padding, rhs_dilation=dilation,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # fmt: skip
        return inputs if self.bias is None else jnp.concatenate([inputs, jnp.ones_like(inputs[..., :1])], -1)


def blocks_of(layers: Mapping[str, Layer], leaves: Leaves) -> dict[str, Block]:
    """The block of each of the `layers`, by its leaves ``kernel`` (or ``weight``) and perhaps ``bias``.

    Raises: ValueError where a layer has no kernel of two axes (affine) or four (convolution).
    """
    blocks = {}
    for name, layer in layers.items():
        kernels = [f"{name}/{last}" for last in ("kernel", "weight") if f"{name}/{last}" in leaves]
        fits = len(kernels) == 1 and leaves[kernels[0]].ndim in (2, 4)
        require(fits, "kfac", f"{name}/kernel or {name}/weight, of two or four axes", parameters=list(leaves))
        bias = f"{name}/bias"
        blocks[name] = Block(layer, kernels[0], bias if bias in leaves else None)
    return blocks


def statistics(
    blocks: dict[str, Block],
    taps: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    outputs_loss: Callable[[PyTree], Array],
    params: PyTree,
    key: Key,
    samples: int,
    coupled: bool,
) -> tuple[dict[str, Factors], int]:
    """The factors for one batch, and the backward passes that they took.

    With the n rows a of the inputs and g of the gradients, A is the mean of a a' and G the sum of g g', since the loss
    and so each g' g has a 1/n already. Where a layer has T positions an example, A is their sum and G their mean.

    Source: Martens & Grosse 2015, section 3; Grosse & Martens 2016, theorem 1, for the positions.
    """
    leaves = _named(params)
    shapes = jax.eval_shape(taps, params, dict.fromkeys(blocks, 0.0))[1]

    def probe(name: str, block: Block) -> Array:
        rows = jax.eval_shape(block.seen, shapes[name], leaves)
        return jnp.zeros((*rows.shape[:-1], leaves[block.kernel].shape[-1]), rows.dtype)

    probes = {name: probe(name, block) for name, block in blocks.items()}
    outputs, backward, inputs = jax.vjp(lambda probes: taps(params, probes), probes, has_aux=True)
    (first, *others), structure = jax.tree.flatten(outputs)
    slopes = output_slopes(lambda z: outputs_loss(structure.unflatten([z, *others])), first, key, samples, coupled)

    def outer(slope: Array) -> dict[str, Array]:
        (gradients,) = backward(structure.unflatten([slope, *map(jnp.zeros_like, others)]))
        return {name: _moment(g) * g.shape[0] * g.shape[-1] / g.size for name, g in gradients.items()}

    of_outputs = jax.lax.map(outer, slopes)
    factors = {}
    for name, block in blocks.items():
        rows = block.seen(inputs[name], leaves)
        factors[name] = Factors(_moment(rows) / rows.shape[0], of_outputs[name].sum(0))
    return factors, len(slopes)


def _moment(rows: Float[Array, "*batch d"]) -> Float[Array, "d d"]:
    wide = rows.astype(statistics_dtype(rows.dtype)).reshape(-1, rows.shape[-1])
    return wide.T @ wide


def _named(params: PyTree) -> Leaves:
    return dict(zip(tree.names(params), map(jnp.asarray, jax.tree.leaves(params)), strict=True))


def output_slopes(
    outputs_loss: Callable[[Array], Array], outputs: Array, key: Key, samples: int, coupled: bool
) -> Float[Array, "samples *outputs"]:
    """Random vectors c for each example, whose sum of c c' has the Hessian of the loss in its outputs as expectation.

    The loss is a sum over all axes of the outputs but the last, as cross entropy over classes (`coupled`), or over all
    of them, as the squared error. Without samples they are as many as there are outputs, and the sum is exact.

    Source: Martens & Grosse 2015, section 5, where labels are drawn from the model; random signs have the same mean.
    """
    _, product = jax.linearize(jax.grad(outputs_loss), outputs)
    width, dtype = outputs.shape[-1], statistics_dtype(outputs.dtype)
    units = jnp.eye(width, dtype=dtype).reshape(width, *(1,) * (outputs.ndim - 1), width)
    units = jnp.broadcast_to(units, (width, *outputs.shape))
    signs = units
    if samples:
        signs = jax.random.rademacher(key, (samples, *outputs.shape), dtype) / jnp.sqrt(jnp.asarray(samples, dtype))
    if coupled:
        hessians = jax.vmap(product, out_axes=-1)(units.astype(outputs.dtype)).astype(dtype)
        values, vectors = jnp.linalg.eigh(hessians)
        slopes = jnp.einsum("...ij,s...j->s...i", vectors * jnp.sqrt(jnp.maximum(values, 0))[..., None, :], signs)
    else:
        slopes = jnp.sqrt(jnp.maximum(product(jnp.ones_like(outputs)), 0)) * signs
    return slopes.astype(outputs.dtype)


def damped_inverses(factors: Factors, gamma: Float[Array, ""]) -> Factors:
    """The inverses of A + pi gamma I and G + gamma / pi I, where pi balances their mean eigenvalues.

    Source: Martens & Grosse 2015, section 6.3.
    """
    mean_inputs, mean_outputs = (jnp.trace(x) / x.shape[0] for x in factors)
    balanced = (mean_inputs > 0) & (mean_outputs > 0)
    pi = jnp.where(balanced, jnp.sqrt(mean_inputs / jnp.where(balanced, mean_outputs, 1)), 1)

    def inverse(matrix: Array, shift: Array) -> Array:
        eye = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
        return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix + shift * eye), True), eye)

    return Factors(inverse(factors.inputs, pi * gamma), inverse(factors.outputs, gamma / pi))


def best_combination(
    product: Callable[[Array], Array], gradient: Float[Array, " n"], directions: Float[Array, "k n"], damping: Scalar
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The minimizer of ``d.(product(d) + damping d) / 2 + gradient.d`` among the combinations of `directions`.

    Returns it with the model's value there; a direction of length 0 has no part in it.

    Source: Martens & Grosse 2015, sections 6.4 and 7, for the step length and the momentum.
    """
    lengths = jnp.linalg.norm(directions, axis=1)
    units = directions / jnp.where(lengths > 0, lengths, 1)[:, None]
    images = jax.lax.map(product, units) + damping * units
    square, slopes = units @ images.T, units @ gradient
    weights = -jnp.linalg.pinv((square + square.T) / 2, hermitian=True) @ slopes
    return weights @ units, weights @ square @ weights / 2 + weights @ slopes


def kfac(
    damping: Scalar = 1.0,
    *,
    layers: Mapping[str, Layer],
    every: int = 5,
    samples: int = 1,
    coupled: bool = True,
    decay: Scalar = 0.95,
) -> optax.GradientTransformationExtraArgs:
    """Natural gradient by Kronecker factors, with length and momentum of the step from the exact quadratic model.

    `update` needs ``value``, ``grad``, ``value_fn``, ``outputs_fn``, ``outputs_loss`` and ``taps``. The Fisher
    information of a layer is taken for the Kronecker product of A, the second moment of its inputs, and G, that of the
    gradients of its pre-activations for targets drawn from the model. The step is a combination of three: the gradient
    times the inverse factors, the gradient of all parameters outside of `layers`, and the last step; the exact
    (G + lambda I)-model says which, so there is no rate and no momentum to choose. lambda then follows the reduction
    ratio, and the step is shortened until the loss falls.

    taps: ``taps(params, probes) -> (outputs, layer_inputs)`` is ``apply_tapped`` with its inputs filled in. `outputs`
        are those of ``outputs_fn``; their first leaf, examples along its first axis, is what targets are drawn for, and
        others are for penalties. `layer_inputs` has the input of each of the `layers`, and `probes` what is added to
        its pre-activations, a scalar or an array of their shape.
    damping: lambda >= 0 of the first step, traced; the factors get its square root, shared by pi. It never falls below
        rounding error of this, and 0 stays 0.
    layers: the affine and convolution layers by name, ``"block/conv1"``; their parameters are ``kernel`` or ``weight``
        and perhaps ``bias``. Convolutions have one group, and their pixels are taken for independent.
    every: steps between inversions, but for the first three. samples: targets drawn for each example; 0 is the exact
        expectation, at one backward pass for each output. coupled: whether the loss couples the outputs of an example,
        as the softmax does. decay: of the running averages, at most 1 - 1/k in step k.

    Cost:    3 copies of the parameters, the factors and their inverses; a step takes two gradients, `samples` backward
             passes, two or three ggnvps and a loss.
    Raises:  ValueError for `layers` that are empty, or have no kernel among the parameters; for bad numbers.
    Source:  Martens & Grosse 2015 (arXiv:1503.05671); Grosse & Martens 2016 for convolutions.
    """
    where = "kfac"
    require(len(layers) > 0, where, "at least one layer", layers=layers)
    require(every >= 1, where, "at least one step between inversions", every=every)
    require(samples >= 0, where, "a number of samples", samples=samples)
    require_nonnegative(where, damping=damping)
    require_rate(where, "decay", decay)

    def init(params: PyTree) -> KfacState:
        flat, _ = ravel(params)
        leaves, dtype = _named(params), flat.dtype
        shapes = {name: block.matrix(leaves).shape for name, block in blocks_of(layers, leaves).items()}

        def empty() -> dict[str, Factors]:
            return {
                name: Factors(jnp.zeros((d, d), dtype), jnp.zeros((u, u), dtype)) for name, (d, u) in shapes.items()
            }

        number, zero, false = jnp.zeros((), dtype), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        initial = jnp.asarray(damping, dtype)
        return KfacState(counts.none(), initial, empty(), empty(), jnp.zeros_like(flat), number, zero, false)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any):
        del updates
        names = ("value", "grad", "value_fn", "outputs_fn", "outputs_loss", "taps")
        *_, outputs_fn, outputs_loss, taps = required(where, extra, *names)
        fun, point, value, gradient, unravel = flatten(where, params, extra)
        dtype, eps = point.dtype, jnp.finfo(point.dtype).eps
        slopes = {name: leaf.astype(dtype) for name, leaf in _named(extra["grad"]).items()}
        blocks = blocks_of(layers, slopes)

        key = jax.random.fold_in(jax.random.key(0), state.iterations)
        latest, passes = statistics(blocks, taps, outputs_loss, params, key, samples, coupled)
        keep = jnp.minimum(jnp.asarray(decay, dtype), 1 - 1 / (state.iterations + 1).astype(dtype))
        mixed = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new.astype(dtype), state.factors, latest)
        finite = jnp.isfinite(sum(x.sum() for x in jax.tree.leaves(mixed)))
        factors = tree.where(finite, mixed, state.factors)
        gamma = jnp.sqrt(jnp.maximum(state.damping, eps))
        inverses = jax.lax.cond(
            (state.iterations % every == 0) | (state.iterations < 3),
            lambda: {name: damped_inverses(pair, gamma) for name, pair in factors.items()},
            lambda: state.inverses,
        )

        natural: Leaves = {}
        for name, block in blocks.items():
            inverse = inverses[name]
            natural |= block.leaves(inverse.inputs @ block.matrix(slopes) @ inverse.outputs, slopes)
        rest = {name: slope for name, slope in slopes.items() if name not in natural}
        directions = [_together(slopes, part) for part in (natural, rest) if part]
        stacked = jnp.stack([*directions, state.step])

        _, product = linearized_ggnvp(lambda x: outputs_fn(unravel(x)), outputs_loss, point)
        direction, model = best_combination(product, gradient, stacked, state.damping)
        trial = fun(point + direction)
        ratio = reduction_ratio(value, trial, model)
        searched = backtracking(fun, point, direction, value, gradient, known=trial)
        moved = searched.step > 0
        step = jnp.where(moved, searched.step * direction, 0)
        following = jnp.maximum(adapted(state.damping, ratio, 19 / 20), eps * jnp.asarray(damping, dtype))
        used = state.counts.plus(loss=1 + searched.evaluations, gradient=2 + passes, ggnvp=len(stacked))
        return unravel(step), KfacState(used, following, factors, inverses, step, ratio, state.iterations + 1, ~moved)

    return optax.GradientTransformationExtraArgs(init, update)


def _together(like: Leaves, part: Leaves) -> Float[Array, " n"]:
    """The leaves of `part` among zeros for those of `like` that are not in it, as one vector."""
    return jnp.concatenate([part.get(name, jnp.zeros_like(x)).ravel() for name, x in like.items()])
