"""Which way does each optimizer take? Trajectories on four functions of two variables, as pictures and an animation.

    python experiments/optimizer_paths.py

The functions are the course's badly conditioned quadratic, Rosenbrock's valley, a saddle, and the quadratic with noise
in its gradient. Every optimizer takes the same number of steps from the same point, with the best of its settings on a
log-spaced grid (by the mean value along the way, so that a fast one wins over one that only ends low). A way is made of
the points at which an optimizer is evaluated, for the schedule-free one its running mean. Muon and SOAP are left out,
since they treat the matrices among the parameters and leave a vector to Adam. Writes
``experiments/results/optimizer-paths-<function>.png`` and ``optimizer-paths.gif``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib import animation
from matplotlib.axes import Axes

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.optim import catalog
from jax231.search.grid import log_grid

HERE = Path(__file__).resolve().parent
ORDERS = {1: "first order", 2: "second order"}
HANDED = {"value_fn", "outputs_fn", "outputs_loss"}  # no examples, residuals or layers here
SAME = {"muon": "nadam", "soap": "adam"}  # what they are for two variables, which are no matrix


@dataclass(frozen=True, kw_only=True)
class Config:
    """How far the optimizers go, and where the pictures go."""

    steps: int = 60
    """Steps of every optimizer."""

    settings: int = 21
    """Settings tried for each, log-spaced over its range in the catalog and two decades below."""

    noise: float = 0.5
    """Standard deviation of the noise in each entry of the noisy quadratic's gradient."""

    frames: int = 31
    """Pictures of the animation."""

    folder: Path = HERE / "results"
    """Where the pictures go."""


class Landscape(NamedTuple):
    """A function of two variables, where to start, its minima, and the window to draw."""

    name: str
    title: str
    fun: Callable[[jax.Array], jax.Array]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    window: tuple[float, float, float, float]
    noise: float = 0.0


class Path2D(NamedTuple):
    """The points that an optimizer visits, and the setting with which it does."""

    entry: catalog.Entry
    setting: float
    points: np.ndarray


def landscapes(noise: float) -> list[Landscape]:
    """The four functions."""

    def bowl(x):
        return 0.5 * (x[0] ** 2 + 50 * x[1] ** 2)

    def valley(x):
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    def saddle(x):
        return 0.5 * x[0] ** 2 + 0.25 * (x[1] ** 2 - 1) ** 2

    return [
        Landscape("quadratic", "A badly conditioned quadratic", bowl, (-4.0, 1.0), ((0, 0),), (-5, 5, -1.6, 1.6)),
        Landscape("rosenbrock", "Rosenbrock's valley", valley, (-1.2, 1.0), ((1, 1),), (-1.8, 1.8, -0.6, 2.2)),
        Landscape("saddle", "A saddle between two minima", saddle, (-1.5, 0.02), ((0, 1), (0, -1)), (-2, 2, -1.6, 1.6)),
        Landscape("noise", "The quadratic with noise in its gradient", bowl, (-4.0, 1.0), ((0, 0),),
                  (-5, 5, -1.6, 1.6), noise),
    ]  # fmt: skip


def walk(landscape: Landscape, entry: catalog.Entry, config: Config) -> Path2D:
    """The path of an optimizer with the best of its settings: all of them run as lanes of one program."""
    noises = landscape.noise * jax.random.normal(jax.random.key(0), (config.steps, 2))

    def run(setting: jax.Array) -> jax.Array:
        tx, start = entry.builder(setting), jnp.asarray(landscape.start)

        def step(carry, noise):
            x, state = carry

            def value_fn(x):  # the noise is that of a mini-batch: a slope of its own in every step
                return landscape.fun(x) + noise @ x

            value, grad = jax.value_and_grad(value_fn)(x)
            evaluated = {"value": value, "grad": grad, "value_fn": value_fn}
            outputs = {"outputs_fn": lambda x: x, "outputs_loss": value_fn}  # then Gauss-Newton's matrix is the Hessian
            update, state = tx.update(grad, state, x, **evaluated, **outputs)
            x = x + update
            return (x, state), entry.evaluation_params(state, x)

        return jnp.concatenate([start[None], jax.lax.scan(step, (start, tx.init(start)), noises)[1]])

    low, high = entry.space
    settings = np.asarray(log_grid(low / 100, high, config.settings))  # steeper functions than a mean loss
    paths = np.asarray(jax.jit(jax.vmap(run))(jnp.asarray(settings)))
    lowest = min(float(landscape.fun(jnp.asarray(m, float))) for m in landscape.minima)
    values = np.asarray(jax.vmap(jax.vmap(landscape.fun))(jnp.asarray(paths))) - lowest
    score = np.log(np.maximum(values, 1e-12)).mean(1)
    best = int(np.argmin(np.where(np.isfinite(score), score, np.inf)))
    return Path2D(entry, float(settings[best]), paths[best])


def draw(ax: Axes, landscape: Landscape) -> None:
    """Contours, the start and the minima."""
    left, right, low, high = landscape.window
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(low, high, 200))
    z = np.asarray(jax.vmap(landscape.fun)(jnp.stack([x.ravel(), y.ravel()], 1))).reshape(x.shape)
    levels = np.geomspace(1e-2, 1.0, 12) * (z.max() - z.min()) + z.min()
    ax.contour(x, y, z, levels=levels, colors="0.8", linewidths=0.7)
    ax.plot(*landscape.start, "o", color="black", markersize=4)
    ax.plot(*np.transpose(landscape.minima), "*", color="black", markersize=9, linestyle="none")
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.tick_params(labelsize=7, color="0.6")


def colours(paths: list[Path2D]) -> dict[str, tuple[float, ...]]:
    """One for each optimizer of an order, the same in all pictures."""
    map_ = plt.get_cmap("tab10" if len(paths) <= 10 else "tab20")
    return {path.entry.name: map_(i) for i, path in enumerate(paths)}


def widths(paths: list[Path2D]) -> dict[str, float]:
    """Of lines that are drawn in this order: where several take one way, all of them can be seen."""
    names = [path.entry.name for path in paths]
    return dict(zip(names, np.linspace(2.5, 0.8, len(names)), strict=True))


def picture(landscape: Landscape, paths: list[Path2D], file: Path) -> None:
    """Both orders side by side; the legend says with which setting."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 6), layout="constrained", sharey=True)
    for ax, (order, title) in zip(axes, ORDERS.items(), strict=True):
        draw(ax, landscape)
        own = [path for path in paths if path.entry.order == order]
        for path in own:
            colour = colours(own)[path.entry.name]
            label = f"{path.entry.title}, {path.entry.setting} {path.setting:.2g}"
            width = widths(own)[path.entry.name]
            ax.plot(*path.points.T, "-", color=colour, linewidth=width, marker=".", markersize=width + 1.5, label=label)
        ax.set_title(title, fontsize=10)
        ax.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2, frameon=False)
    steps = len(paths[0].points) - 1
    figure.suptitle(f"{landscape.title}: {steps} steps from the dot, each with the best of its settings", fontsize=11)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def animate(paths: dict[str, list[Path2D]], config: Config, file: Path) -> None:
    """All functions and both orders, the optimizers moving step by step."""
    lands = landscapes(config.noise)
    figure, axes = plt.subplots(2, len(lands), figsize=(15, 6), layout="constrained")
    lines = []
    for column, landscape in enumerate(lands):
        for row, (order, title) in enumerate(ORDERS.items()):
            ax = axes[row, column]
            draw(ax, landscape)
            ax.set_title(f"{landscape.title}, {title}", fontsize=7)
            own = [path for path in paths[landscape.name] if path.entry.order == order]
            for path in own:
                colour = colours(own)[path.entry.name]
                width = widths(own)[path.entry.name]
                (line,) = ax.plot([], [], "-", color=colour, linewidth=width, label=path.entry.title)
                (head,) = ax.plot([], [], "o", color=colour, markersize=4)
                lines.append((line, head, path.points))
            if column == len(lands) - 1:
                ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)

    def show(frame: int) -> list:
        last = round(frame * config.steps / (config.frames - 1))
        for line, head, points in lines:
            line.set_data(*points[: last + 1].T)
            head.set_data(*points[last : last + 1].T)
        return []

    moving = animation.FuncAnimation(figure, show, frames=config.frames)
    moving.save(file, writer=animation.PillowWriter(fps=10), dpi=50)
    plt.close(figure)


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Draw the trajectories of every optimizer of the catalog that a function of two variables is enough for."""
    config.folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[Path2D]] = {}
    entries = [entry for entry in catalog.ENTRIES if set(entry.needs) <= HANDED and entry.name not in SAME]
    for landscape in landscapes(config.noise):
        paths[landscape.name] = [walk(landscape, entry, config) for entry in entries]
        file = config.folder / f"optimizer-paths-{landscape.name}.png"
        picture(landscape, paths[landscape.name], file)
        print(file)
    file = config.folder / "optimizer-paths.gif"
    animate(paths, config, file)
    print(file)


if __name__ == "__main__":
    cyclopts.run(main)
