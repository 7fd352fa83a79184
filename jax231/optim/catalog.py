"""Every optimizer by name: what it is, what it needs and costs, and where to look for its setting.

The table itself imports no JAX, so that listings and completion answer at once; `Entry.builder` imports it.
"""

import importlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jax231.core.lookup import by_name


class Entry(NamedTuple):
    """One optimizer of the catalog.

    `setting` names the one number that a comparison searches, log-spaced over `space`. `family`, where there is one,
    is the name under which `optim.family` runs the same rule as a lane of a swept program. `gradients` are gradients a
    step of a first-order method, `evaluations` what a second-order one evaluates besides (fields of `counts.Counts`).
    `limit` is the largest number of parameters that the method is offered; `steps` are so few that it gets them even
    beyond a budget, since a single one can cost hundreds of gradients.
    """

    name: str
    title: str
    order: Literal[1, 2]
    setting: Literal["step size", "damping"]
    space: tuple[float, float]
    memory: str
    when: str
    source: str
    needs: tuple[str, ...] = ()
    family: str | None = None
    gradients: int = 1
    evaluations: tuple[str, ...] = ()
    limit: int | None = None
    steps: int = 0

    @property
    def batch(self) -> Literal["mini-batch", "full batch"]:
        """First-order methods take mini-batches; second-order ones need the noise switched off."""
        return "mini-batch" if self.order == 1 else "full batch"

    @property
    def builder(self) -> Callable[..., Any]:
        """``builder(setting, **hyperparameters) -> optax.GradientTransformationExtraArgs``; `setting` may be traced."""
        module = MODULES.get(self.name, self.name)
        return getattr(importlib.import_module(f"jax231.optim.{module}"), self.name)


MODULES = {"nesterov_lookahead": "nesterov"}

ENTRIES = (
    Entry("sgd", "SGD", 1, "step size", (1e-2, 1e1), "0",
          "the baseline; with a good schedule hard to beat on generalization",
          "Robbins & Monro 1951; CS231n lecture 7", family="sgd"),
    Entry("momentum", "SGD with momentum", 1, "step size", (1e-3, 1e0), "1",
          "the default for ConvNets on images",
          "Polyak 1964; CS231n lecture 7", family="momentum"),
    Entry("nesterov", "Nesterov momentum", 1, "step size", (1e-3, 1e0), "1",
          "as momentum, often a little faster; the gradient is corrected after the velocity",
          "Nesterov 1983; Sutskever et al. 2013; CS231n lecture 7", family="nesterov"),
    Entry("nesterov_lookahead", "Nesterov, look-ahead", 1, "step size", (1e-3, 1e0), "1",
          "to see the definition at work; costs an extra gradient a step",
          "Sutskever et al. 2013, equations 3 and 4", needs=("value_fn",), gradients=2),
    Entry("adagrad", "AdaGrad", 1, "step size", (1e-3, 1e0), "1",
          "sparse features and convex problems; its steps only shrink",
          "Duchi, Hazan & Singer 2011; CS231n lecture 7", family="adagrad"),
    Entry("rmsprop", "RMSProp", 1, "step size", (1e-4, 1e-1), "1",
          "recurrent nets and non-stationary losses",
          "Tieleman & Hinton 2012; CS231n lecture 7", family="rmsprop"),
    Entry("adam", "Adam", 1, "step size", (1e-4, 1e-1), "2",
          "a good default in most cases",
          "Kingma & Ba 2015, algorithm 1; CS231n lecture 7", family="adam"),
    Entry("adamw", "AdamW", 1, "step size", (1e-4, 1e-1), "2",
          "Adam with weight decay that works; the default for transformers",
          "Loshchilov & Hutter 2019, algorithm 2"),
    Entry("nadam", "NAdam", 1, "step size", (1e-4, 1e-1), "2",
          "as Adam, often a little faster at the start",
          "Dozat 2016"),
    Entry("lion", "Lion", 1, "step size", (1e-5, 1e-2), "1",
          "half of Adam's memory; large batches, and a schedule to come to rest",
          "Chen et al. 2023, algorithm 2"),
    Entry("muon", "Muon", 1, "step size", (1e-4, 1e-1), "1 to 2",
          "nets whose parameters are mostly matrices",
          "Jordan et al. 2024; Liu et al. 2025"),
    Entry("newton", "Newton, damped", 2, "damping", (1e-6, 1e0), "2n + 4",
          "a thousand parameters or fewer, and a minimum wanted to many digits",
          "CS231n lecture 7; Nocedal & Wright 2006, section 3.4",
          needs=("value_fn",), evaluations=("loss", "hessian"), limit=1500, steps=6),
    Entry("newton_cg", "Newton-CG", 2, "damping", (1e-6, 1e0), "5",
          "smooth full-batch problems of any size",
          "Nocedal & Wright 2006, algorithm 7.1; Martens 2010", needs=("value_fn",), evaluations=("loss", "hvp")),
    Entry("newton_cg_trust", "Newton-CG, trust region", 2, "damping", (1e-6, 1e0), "6",
          "as Newton-CG, where there are saddles: it follows negative curvature",
          "Steihaug 1983; Nocedal & Wright 2006, algorithm 7.2", needs=("value_fn",), evaluations=("loss", "hvp")),
    Entry("gauss_newton", "Gauss-Newton, Hessian-free", 2, "damping", (1e-3, 1e2), "14",
          "deep nets in full batch: a model that is always convex, damped by how well it does",
          "Martens 2010", needs=("value_fn", "outputs_fn", "outputs_loss"), evaluations=("loss", "ggnvp")),
    Entry("natural_gradient", "Natural gradient", 2, "damping", (1e-5, 1e1), "5",
          "losses that are likelihoods: steps that do not depend on the parametrization",
          "Amari 1998; Martens 2014", needs=("value_fn", "outputs_fn", "outputs_loss"), evaluations=("loss", "ggnvp")),
    Entry("bfgs", "BFGS", 2, "damping", (1e-6, 1e0), "n + 5",
          "a few thousand parameters or fewer: fewer gradients than L-BFGS",
          "Nocedal & Wright 2006, algorithm 6.1; CS231n lecture 7", needs=("value_fn",), limit=3000),
    Entry("sr1", "SR1, trust region", 2, "damping", (1e-6, 1e0), "n + 5",
          "as BFGS, where curvature may be negative; its updates have rank 1",
          "Nocedal & Wright 2006, algorithm 6.2; CS231n lecture 7", needs=("value_fn",), limit=3000),
    Entry("lbfgs", "L-BFGS", 2, "damping", (1e-6, 1e0), "2m + 3",
          "full batch, no noise: few gradients and nothing to tune",
          "Liu & Nocedal 1989; CS231n lecture 7", needs=("value_fn",)),
)  # fmt: skip

NAMES = tuple(entry.name for entry in ENTRIES)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises: ValueError with the nearest names where there is none.
    """
    return by_name(ENTRIES, name, "optimizers", "catalog")
