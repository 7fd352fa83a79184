"""Every optimizer by name: what it is, what it needs and costs, and where to look for its setting.

The table itself imports no JAX, so that listings and completion answer at once; `Entry.builder` imports it.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
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
    options: tuple[str, ...] = ()
    noise: bool = False
    family: str | None = None
    gradients: int = 1
    evaluations: tuple[str, ...] = ()
    limit: int | None = None
    steps: int = 0

    @property
    def batch(self) -> Literal["mini-batch", "full batch"]:
        """First-order methods take mini-batches; most second-order ones need the same function in every step."""
        return "mini-batch" if self.order == 1 or self.noise else "full batch"

    @property
    def usual(self) -> float:
        """The setting where none is given: the geometric middle of `space`, to two digits."""
        low, high = self.space
        return float(f"{math.sqrt(low * high):.2g}")

    @property
    def builder(self) -> Callable[..., Any]:
        """``builder(setting, **hyperparameters) -> optax.GradientTransformationExtraArgs``; `setting` may be traced."""
        return getattr(self._module, self.name)

    @property
    def evaluation_params(self) -> Callable[[Any, Any], Any]:
        """``evaluation_params(state, params)``: where to report the loss, for most the parameters themselves."""
        return getattr(self._module, "evaluation_params", lambda state, params: params)

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"jax231.optim.{MODULES.get(self.name, self.name)}")


MODULES = {
    "empirical_natural_gradient": "natural_gradient",
    "nesterov_lookahead": "nesterov",
    "saddle_free_newton": "newton",
}

NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "value_fn": "the loss as a function of the parameters",
        "outputs_fn": "the model's outputs as a function of the parameters",
        "outputs_loss": "the loss as a function of these outputs",
        "residuals": "a loss that is a multiple of the sum of squares of what outputs_fn returns",
        "per_example_fn": "the loss of each example as a function of the parameters",
        "overlap_fn": "the loss on the examples that a batch shares with the one before",
        "curvature_fn": "the loss on the examples whose curvature is taken",
        "taps": "inputs and pre-activations of the model's layers",
    }
)
"""What ``update`` is given beside value and gradient, by the name of its argument; `residuals` are of `outputs_fn`."""

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
    Entry("shampoo", "Shampoo", 1, "step size", (1e-4, 1e-1), "2 + 2f",
          "matrices whose rows and columns are correlated, and time for an eigendecomposition every ten steps",
          "Gupta, Koren & Singer 2018, algorithm 2; Anil et al. 2020"),
    Entry("soap", "SOAP", 1, "step size", (1e-4, 1e-1), "2 + 2f",
          "as Shampoo, at Adam's rates: Adam in the basis of its matrices",
          "Vyas et al. 2024, algorithm 3"),
    Entry("schedule_free", "Schedule-free AdamW", 1, "step size", (1e-4, 1e-1), "2",
          "as AdamW where the number of steps is not known beforehand: it needs no schedule",
          "Defazio et al. 2024"),
    Entry("newton", "Newton, damped", 2, "damping", (1e-6, 1e0), "2n + 4",
          "a thousand parameters or fewer, and a minimum wanted to many digits",
          "CS231n lecture 7; Nocedal & Wright 2006, section 3.4",
          needs=("value_fn",), evaluations=("loss", "hessian"), limit=1500, steps=6),
    Entry("saddle_free_newton", "Newton, saddle-free", 2, "damping", (1e-6, 1e0), "3n + 4",
          "as Newton, where there are saddles: a factorization costs ten times as much, and a saddle none",
          "Dauphin et al. 2014", needs=("value_fn",), evaluations=("loss", "hessian"), limit=1500, steps=6),
    Entry("newton_cg", "Newton-CG", 2, "damping", (1e-6, 1e0), "5",
          "smooth full-batch problems of any size",
          "Nocedal & Wright 2006, algorithm 7.1; Martens 2010", needs=("value_fn",), evaluations=("loss", "hvp")),
    Entry("newton_cg_trust", "Newton-CG, trust region", 2, "damping", (1e-6, 1e0), "6",
          "as Newton-CG, where there are saddles: it follows negative curvature",
          "Steihaug 1983; Nocedal & Wright 2006, algorithm 7.2", needs=("value_fn",), evaluations=("loss", "hvp")),
    Entry("newton_cg_subsampled", "Newton-CG, sub-sampled", 2, "damping", (1e-6, 1e0), "5",
          "large batches: curvature from a small part of each, at a fraction of the cost",
          "Byrd et al. 2011", needs=("value_fn", "curvature_fn"), noise=True, evaluations=("loss", "hvp")),
    Entry("gauss_newton", "Gauss-Newton, Hessian-free", 2, "damping", (1e-3, 1e2), "14",
          "deep nets in full batch: a model that is always convex, damped by how well it does",
          "Martens 2010", needs=("value_fn", "outputs_fn", "outputs_loss"), evaluations=("loss", "ggnvp")),
    Entry("levenberg_marquardt", "Levenberg-Marquardt", 2, "damping", (1e-6, 1e2), "2r + 2n",
          "least squares of a few hundred parameters: fits curves to many digits",
          "Levenberg 1944; Marquardt 1963; Mor\u00e9 1978", needs=("value_fn", "outputs_fn", "residuals"),
          evaluations=("loss", "ggnvp"), limit=1000),
    Entry("natural_gradient", "Natural gradient", 2, "damping", (1e-5, 1e1), "5",
          "losses that are likelihoods: steps that do not depend on the parametrization",
          "Amari 1998; Martens 2014", needs=("value_fn", "outputs_fn", "outputs_loss"), evaluations=("loss", "ggnvp")),
    Entry("empirical_natural_gradient", "Natural gradient, empirical", 2, "damping", (1e-5, 1e1), "5",
          "to see what labels in the place of the model's own predictions do to the natural gradient",
          "Kunstner, Balles & Hennig 2019", needs=("value_fn", "per_example_fn"), evaluations=("loss", "ggnvp")),
    Entry("kfac", "K-FAC", 2, "damping", (1e-3, 1e2), "3 + f",
          "deep nets of affine and convolution layers: a natural gradient without many CG iterations",
          "Martens & Grosse 2015; Grosse & Martens 2016",
          needs=("value_fn", "outputs_fn", "outputs_loss", "taps"), options=("layers",), noise=True,
          evaluations=("loss", "ggnvp")),
    Entry("bfgs", "BFGS", 2, "damping", (1e-6, 1e0), "n + 5",
          "a few thousand parameters or fewer: fewer gradients than L-BFGS",
          "Nocedal & Wright 2006, algorithm 6.1; CS231n lecture 7", needs=("value_fn",), limit=3000),
    Entry("sr1", "SR1, trust region", 2, "damping", (1e-6, 1e0), "n + 5",
          "as BFGS, where curvature may be negative; its updates have rank 1",
          "Nocedal & Wright 2006, algorithm 6.2; CS231n lecture 7", needs=("value_fn",), limit=3000),
    Entry("lbfgs", "L-BFGS", 2, "damping", (1e-6, 1e0), "2m + 5",
          "full batch, no noise: few gradients and nothing to tune",
          "Liu & Nocedal 1989; CS231n lecture 7", needs=("value_fn",)),
    Entry("lbfgs_overlap", "L-BFGS, overlapping batches", 2, "step size", (1e-3, 1e0), "2m + 5",
          "to see what L-BFGS can do with mini-batches: pairs are formed on what two of them share",
          "Berahas, Nocedal & Tak\u00e1\u010d 2016; CS231n lecture 7", needs=("overlap_fn",), noise=True),
)  # fmt: skip

NAMES = tuple(entry.name for entry in ENTRIES)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises: ValueError with the nearest names where there is none.
    """
    return by_name(ENTRIES, name, "optimizers", "catalog", "jax231 optimizers")
