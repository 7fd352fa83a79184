"""The timed cases in PyTorch: eager L-BFGS with its strong Wolfe search, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from optimizer_bench import cases
from optimizer_bench.cases import CLASSES, DECAY, Case

MEMORY = 10
"""Pairs, as all others keep; PyTorch's own default is 100."""


def prepare(case: Case, gtol: float, steps: int) -> Callable[[], dict[str, Any]]:
    """The call that is counted and timed."""
    fun, start = _objective(case), torch.from_numpy(cases.start(case))

    def run() -> dict[str, Any]:
        x = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [x], max_iter=steps, max_eval=4 * steps, history_size=MEMORY,
            tolerance_grad=gtol, tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            optimizer.zero_grad()
            value = fun(x)
            value.backward()
            return value

        optimizer.step(closure)
        return {"x": x.detach().numpy(), "evaluations": evaluations}

    return run


def _objective(case: Case) -> Callable[[Tensor], Tensor]:
    if case.kind == "rosenbrock":
        return lambda x: (100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2).sum()
    x, labels = (torch.from_numpy(np.ascontiguousarray(array)) for array in cases.data(case))
    labels = labels.long()

    def softmax_regression(theta: Tensor) -> Tensor:
        weight, bias = theta[:-CLASSES].view(-1, CLASSES), theta[-CLASSES:]
        return functional.cross_entropy(torch.addmm(bias, x, weight), labels) + DECAY * (theta**2).sum()

    return softmax_regression
