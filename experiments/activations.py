"""What do the course's activation functions look like, and what do they let through backwards?

    python experiments/activations.py

draws each function of lecture 6 with its derivative, taken by `jax.grad`. At a kink the derivative is that of the left
side. Writes ``activations.png`` beside the other results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from jax231.functional import elu, leaky_relu, maxout, relu, sigmoid, tanh

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from jax231.report.style import COLORS

HERE = Path(__file__).resolve().parent


def _maxout(x: jax.Array) -> jax.Array:
    """Of three lines, which approximate a parabola."""
    return maxout(jnp.stack([-x - 1, 0.2 * x, x - 1]), 3)[0]


FUNCTIONS: dict[str, tuple[Callable[[jax.Array], jax.Array], str]] = {
    "sigmoid": (sigmoid, "saturates, not centred: gradients of at most 1/4"),
    "tanh": (tanh, "saturates, centred"),
    "ReLU": (relu, "no gradient to the left: units can die"),
    "leaky ReLU, slope 0.1": (lambda x: leaky_relu(x, 0.1), "does not die"),
    "ELU": (elu, "negative mean outputs, saturates to the left"),
    "maxout of 3 lines": (_maxout, "convex, pieces are learned"),
}
"""Each function of a number, and what the course says of it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the functions are drawn, and where the picture goes."""

    reach: float = 4.0
    """The inputs are within [-reach, reach]."""

    points: int = 401
    """Inputs at which each is evaluated."""

    folder: Path = HERE / "results"
    """Where the picture goes."""


def curves(function: Callable[[jax.Array], jax.Array], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and derivatives at `x`."""
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(function)))(jnp.asarray(x))
    return np.asarray(value), np.asarray(slope)


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> Path:
    """Draw the picture; its path comes back."""
    x = np.linspace(-config.reach, config.reach, config.points, dtype=np.float32)
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained", sharex=True)
    for ax, (name, (function, said)) in zip(axes.flat, FUNCTIONS.items(), strict=True):
        value, slope = curves(function, x)
        ax.plot(x, value, color=COLORS[0][0], linewidth=2, label="value")
        ax.plot(x, slope, color=COLORS[1][0], linewidth=1.5, linestyle="--", label="derivative")
        ax.axhline(0, color="0.6", linewidth=0.6)
        ax.axvline(0, color="0.6", linewidth=0.6)
        ax.set_title(f"{name}\n", loc="left", fontsize=11)
        ax.text(0, 1.02, said, transform=ax.transAxes, fontsize=8, color="0.35")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
    axes[0, 0].legend(frameon=False, fontsize=8)
    config.folder.mkdir(parents=True, exist_ok=True)
    file = config.folder / "activations.png"
    figure.savefig(file, dpi=130)
    plt.close(figure)
    print(file)
    return file


if __name__ == "__main__":
    cyclopts.run(main, result_action="return_value")
