"""The same training in PyTorch: eager or by `torch.compile`, channels last, fused optimizers, data in memory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_bench.job import Job
from torch import Tensor, nn
from torch.nn import functional
from zoo_bench import exchange as files

from training_bench import torch_nets
from training_bench.training_cases import AGREE, Case

MOMENTUM = 0.9


def hello(side: str) -> dict[str, Any]:
    """The version, and the threads that work."""
    del side
    from importlib import metadata

    return {"versions": {"torch": metadata.version("torch")}, "threads": torch.get_num_threads()}


def build(side: str, case: Case, form: str, exchange: Path) -> Job:
    """A run on its way, from the weights and on the data in the exchange folder.

    The steps that are compared, where nothing is dropped, are done here, and each call after them does a chunk.
    """
    del form
    data, given = files.read(exchange, f"{case.name}-data"), files.read(exchange, case.name)
    net = torch_nets.build(case.name, data)
    weights = {key: torch.from_numpy(array) for key, array in given.items()}
    missing, unknown = net.load_state_dict(weights, strict=False)
    differing = [key for key in missing if not key.endswith("num_batches_tracked")] + unknown
    if differing:
        raise ValueError(f"{case.name}: expected weights of the same names; got others at {', '.join(differing)}")
    net = net.train().to(memory_format=torch.channels_last)
    run = (_Text if "length" in case.choices else _Images)(case, net, data, compiled=side == "torch_compile")
    begin = time.perf_counter()
    losses = run.call()
    outputs = [losses.numpy(), files.norms(_arrays(net, given))]
    seconds = time.perf_counter() - begin if side == "torch_compile" else None
    return Job(run.call, lambda _: outputs, seconds)


def _arrays(net: nn.Module, names: Any) -> dict[str, np.ndarray]:
    state = net.state_dict()
    return {name: state[name].numpy() for name in names}


class _Run:
    """Steps through an epoch again and again; losses and shares of right answers stay tensors until the end."""

    def __init__(self, case: Case, net: nn.Module, data: dict[str, Any], *, compiled: bool):
        self.case, self.data, self.done, self.compared = case, data, 0, False
        self.net: Callable[..., Any] = torch.compile(net) if compiled else net
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(case, self.parameters)
        self.rates: list[float] = data["rates"].tolist()
        self.inputs, self.targets = torch.from_numpy(data["inputs"]), torch.from_numpy(data["targets"])

    steps: int

    def forward(self, i: int) -> tuple[Tensor, Tensor]:
        """Scores (n, k) and targets (n,) of a step of the epoch."""
        raise NotImplementedError

    def call(self) -> Tensor:
        """The next chunk; its losses."""
        first = self.done % self.steps
        count = self.case.chunk if self.compared else AGREE
        if first + count > self.steps:
            self.done, first = self.done + self.steps - first, 0
        kept = [self._step(first + place) for place in range(count)]
        self.compared = True
        losses, hits = map(torch.stack, zip(*kept, strict=True))
        assert torch.isfinite(losses).all()
        assert 0 <= float(hits.mean()) <= 1
        return losses

    def _step(self, i: int) -> tuple[Tensor, Tensor]:
        rate = self.rates[min(self.done, len(self.rates) - 1)]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        scores, targets = self.forward(i)
        loss = functional.cross_entropy(scores, targets)
        loss.backward()
        if (clip := self.case.choices.get("clip")) is not None:
            nn.utils.clip_grad_norm_(self.parameters, clip, foreach=True)
        self.optimizer.step()
        self.done += 1
        return loss.detach(), (scores.detach().argmax(-1) == targets).float().mean()


class _Images(_Run):
    """Images as uint8 in the order of the first epoch; the first steps are cropped as ours, later ones at random."""

    def __init__(self, case: Case, net: nn.Module, data: dict[str, Any], *, compiled: bool):
        super().__init__(case, net, data, compiled=compiled)
        self.batch = case.choices["batch"]
        self.order = torch.from_numpy(data["order"].astype(np.int64))
        self.mean, self.scale = torch.from_numpy(data["mean"]), torch.from_numpy(data["scale"])
        self.steps = len(self.order) // self.batch

    def forward(self, i: int) -> tuple[Tensor, Tensor]:
        """The batch, augmented and preprocessed, through the network."""
        chosen = self.order[i * self.batch : (i + 1) * self.batch]
        x, targets = self.inputs[chosen], self.targets[chosen]
        if "augment" in self.case.choices:
            x = augmented(x, self._drawn(i, x))
        x = x.float().sub_(self.mean).div_(self.scale)
        return self.net(x.permute(0, 3, 1, 2)), targets

    def _drawn(self, i: int, x: Tensor) -> Tensor:
        if not self.compared:
            return torch.from_numpy(self.data["crops"][i])
        turned = torch.randint(0, 2, (len(x), 1))
        return torch.cat([turned, torch.randint(0, 2 * (x.shape[1] // 8) + 1, (len(x), 2))], 1)


def augmented(x: Tensor, drawn: Tensor) -> Tensor:
    """Images (n, h, w, c), some turned, padded by an eighth of the height, and a part of the original size of them."""
    n, h, w, _ = x.shape
    turned, row, column = drawn.T
    pad = h // 8
    columns = column[:, None] + torch.arange(w)  # of the padded image, which is turned by reading from its other end
    columns = torch.where(turned.bool()[:, None], w + 2 * pad - 1 - columns, columns)
    wide = functional.pad(x, (0, 0, pad, pad, pad, pad))
    return wide[torch.arange(n)[:, None, None], (row[:, None] + torch.arange(h))[:, :, None], columns[:, None, :]]


class _Text(_Run):
    """Windows of a text one after the other, with the carry of the one before, from zero in each epoch."""

    def __init__(self, case: Case, net: nn.Module, data: dict[str, Any], *, compiled: bool):
        super().__init__(case, net, data, compiled=compiled)
        self.inputs, self.targets = (x.long().mT.contiguous() for x in (self.inputs, self.targets))
        self.steps = len(self.inputs)
        self.carry: torch_nets.Carry = None

    def forward(self, i: int) -> tuple[Tensor, Tensor]:
        """A window through the network, from where the one before it ended."""
        carry = None if i == 0 else self.carry
        dropout = self.case.choices["dropout"] if self.compared else 0.0
        scores, (h, c) = self.net(self.inputs[i], carry, dropout)
        self.carry = h.detach(), c.detach()
        return scores.flatten(0, 1), self.targets[i].flatten()


def _optimizer(case: Case, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """With weight decay on kernels only; rates are set step by step."""
    if case.choices["optimizer"] == "adam":
        return torch.optim.Adam(parameters, fused=True)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": case.choices.get("decay", 0.0)},
        {"params": [p for p in parameters if p.ndim == 1]},
    ]
    return torch.optim.SGD(groups, lr=1.0, momentum=MOMENTUM, nesterov=True, fused=True)
