"""What does noise do to methods of second order? Softmax regression on the digits, in batches of several sizes.

    python experiments/noisy_curvature.py

Plain L-BFGS, L-BFGS with overlapping batches and sub-sampled Newton-CG beside SGD and Adam, each with the best of its
settings on a log-spaced grid, by the median over the seeds, and with as good as no damping. A gradient-equivalent is a
gradient over the training split; on a batch of it everything costs as much less. Writes ``noisy-curvature.json`` and
``.png`` beside the other results.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import matplotlib
import msgspec
import numpy as np
import optax

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.compare import problems
from jax231.core import precision
from jax231.core.files import write_whole
from jax231.core.types import Batch, PyTree
from jax231.measure import machine
from jax231.optim import catalog, reuse
from jax231.optim.lbfgs_overlap import overlapping_batches
from jax231.optim.minimise import minimise
from jax231.search.grid import log_grid

HERE = Path(__file__).resolve().parent
METHODS = ("sgd", "adam", "lbfgs", "lbfgs_overlap", "newton_cg_subsampled")
LOSS, HVP = 0.4, 1.4
"""What a loss and one more Hessian-vector product cost in gradients, by their multiplications."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How large the batches are, how long the runs, and where the results go."""

    batches: tuple[int, ...] = (32, 256, 0)
    """Examples in a batch; 0 takes the whole training split."""

    part: float = 0.25
    """Share of a batch that overlaps with the one before, or whose curvature is taken."""

    budget: float = 15.0
    """Gradient-equivalents that a run may spend."""

    settings: int = 5
    """Settings tried for each method and size, log-spaced over its range in the catalog."""

    seeds: int = 3
    """Orders of the examples."""

    examples: int | None = None
    """Use only so many training examples (None: all)."""

    folder: Path = HERE / "results"
    """Where the results go."""


class Curve(NamedTuple):
    """The excess of the loss over its minimum along a run, the median over seeds, with the `best` setting or least."""

    method: str
    batch: int
    setting: float
    best: bool
    cost: list[float]
    excess: list[float | None]


def run(problem: problems.Problem, entry: catalog.Entry, part: int, start: PyTree) -> Callable[..., Any]:
    """``lane(setting, orders) -> (cost, loss)`` before and after each step on the batches `orders` (steps, size)."""
    train, total = problem.split.train, problem.examples

    def lane(setting: jax.Array, orders: jax.Array) -> tuple[jax.Array, jax.Array]:
        tx = optax.with_extra_args_support(entry.builder(setting))
        size = orders.shape[1]
        noisy = size < total

        def on(chosen: jax.Array) -> Callable[[PyTree], jax.Array]:
            batch = Batch(train.inputs[chosen], train.targets[chosen])
            return lambda params: problem.objective(params, batch)

        def step(carry, order):
            params, state, cost = carry
            kept = getattr(state, "kept", None)
            if noisy and kept is not None:  # what was kept belongs to the batch before
                state = state._replace(kept=kept._replace(known=kept.known & False))
            fun, few = on(order), on(order[:part])
            value, grad = reuse.value_and_grad(fun, params, state)
            given = {"value": value, "grad": grad, "value_fn": fun, "overlap_fn": few, "curvature_fn": few}
            updates, new = tx.update(grad, state, params, **given)
            params = optax.apply_updates(params, updates)
            cost = cost + spent(state, new) / total
            return (params, new, cost), (cost, problem.objective(params, train))

        def spent(old: PyTree, new: PyTree) -> jax.Array | float:
            """In gradients of one example."""
            if entry.order == 1:
                return size
            used = jax.tree.map(jnp.subtract, new.counts, old.counts)
            if entry.name == "lbfgs":
                return used.gradient * size
            return size + (used.gradient - 1 + HVP * used.hvp) * part + LOSS * used.loss * size

        first = (start, tx.init(start), jnp.zeros(()))
        _, (cost, loss) = jax.lax.scan(step, first, orders)
        return jnp.pad(cost, (1, 0)), jnp.concatenate([problem.objective(start, train)[None], loss])

    return lane


def curves_of(
    problem: problems.Problem, name: str, batch: int, start: PyTree, lowest: float, config: Config
) -> list[Curve]:
    """The best of the settings, and the least damping; all of them are lanes of one program, as are the seeds."""
    entry, total = catalog.entry(name), problem.examples
    size = batch or total
    part = max(1, round(config.part * size))
    overlap = part if batch and name == "lbfgs_overlap" else 0
    least = {"lbfgs": 2.0 if batch else 1.0, "lbfgs_overlap": 1 + 2 * config.part, "newton_cg_subsampled": 1 + LOSS}
    steps = int(config.budget * total / (size * least.get(name, 1.0)))  # of the cheapest kind

    def order(seed: int) -> np.ndarray:
        if not batch:
            return np.tile(np.arange(total), (steps, 1))
        rng = np.random.default_rng([231, seed])
        stream = np.concatenate([rng.permutation(total) for _ in range(int(config.budget) + 2)])
        return overlapping_batches(stream, size, overlap)[:steps]

    orders = jnp.asarray(np.stack([order(seed) for seed in range(config.seeds if batch else 1)]))
    settings = log_grid(*entry.space, config.settings)
    lanes = jax.jit(jax.vmap(jax.vmap(run(problem, entry, part, start), (None, 0)), (0, None)))
    costs, losses = map(np.asarray, lanes(jnp.asarray(settings), orders))
    grid = np.linspace(0, config.budget, 61)
    heights = np.log(np.clip(np.nan_to_num(losses - lowest, nan=np.inf), 1e-7, 1e3))
    onto = [[np.interp(grid, c, h) for c, h in zip(*rows, strict=True)] for rows in zip(costs, heights, strict=True)]
    medians = np.median(onto, axis=1)
    best = int(np.argmin(medians[:, -1]))
    chosen = [best, 0] if entry.setting == "damping" and best else [best]

    def excess(heights: np.ndarray) -> list[float | None]:
        return [float(x) if x < 1e3 else None for x in np.exp(heights).tolist()]

    return [Curve(name, size, settings[i], i == best, grid.tolist(), excess(medians[i])) for i in chosen]


def picture(curves: list[Curve], config: Config, file: Path) -> None:
    """A panel a size."""
    sizes = list(dict.fromkeys(curve.batch for curve in curves))
    figure, axes = plt.subplots(1, len(sizes), figsize=(3.6 * len(sizes), 4.2), sharey=True, layout="constrained")
    for ax, size in zip(np.atleast_1d(axes), sizes, strict=True):
        for each in (curve for curve in curves if curve.batch == size):
            entry, colour = catalog.entry(each.method), f"C{METHODS.index(each.method)}"
            label = f"{entry.title}, {entry.setting} {each.setting:.2g}"
            heights = [np.nan if x is None else x for x in each.excess]
            ax.semilogy(each.cost, heights, "-" if each.best else ":", color=colour, label=label)
        ax.set_title(f"batches of {size}" if size < max(sizes) else f"full batch, {size}", fontsize=10)
        ax.set_xlabel("gradient-equivalents", fontsize=9)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    np.atleast_1d(axes)[0].set_ylabel("loss above its minimum", fontsize=9)
    figure.suptitle(
        "Softmax regression on the digits: solid with the best of its settings, dotted with the least damping",
        fontsize=11,
    )
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> list[Curve]:
    """Run all methods in all sizes and draw them."""
    config.folder.mkdir(parents=True, exist_ok=True)
    with precision.highest():
        problem = problems.build("softmax", problems.load("digits", examples=config.examples))
        start, _ = problem.model.init(jax.random.key(0))
        found = minimise(problem.objective, start, (problem.split.train,), gtol=1e-6)
        lowest = float(found.value)
        curves = [
            each
            for batch in config.batches
            for name in METHODS
            for each in curves_of(problem, name, batch, start, lowest, config)
        ]
    facts = {"versions": machine.versions(), "device": machine.device(), "revision": machine.revision()}
    chosen = {name: value for name, value in asdict(config).items() if name != "folder"}
    found_here = {"lowest": lowest, "curves": [curve._asdict() for curve in curves]}
    record = facts | {"config": chosen, "rates": {"loss": LOSS, "hvp": HVP}} | found_here
    write_whole(config.folder / "noisy-curvature.json", msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    picture(curves, config, config.folder / "noisy-curvature.png")
    return curves


if __name__ == "__main__":
    for each in cyclopts.run(main, result_action="return_value"):
        print(f"{each.method:22} batch {each.batch:5} {each.setting:.3g}: {each.excess[-1]}")
