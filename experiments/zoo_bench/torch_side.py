"""The networks in PyTorch, eager, channels last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_bench.job import Job
from kernel_bench.torch_side import image
from torch import Tensor, nn

from zoo_bench import exchange as files
from zoo_bench import torch_nets
from zoo_bench.bench_cases import MOMENTUM, RATE, Case, Form
from zoo_bench.inputs import inputs


def hello(side: str) -> dict[str, Any]:
    """The versions, and the threads that work."""
    del side
    from importlib import metadata

    versions = {name: metadata.version(name) for name in ("torch", "torchvision")}
    return {"versions": versions, "threads": torch.get_num_threads()}


def build(side: str, case: Case, form: Form, exchange: Path) -> Job:
    """A network in evaluation, or its training, from the weights in the exchange folder."""
    del side
    net = torch_nets.build(case.name)
    weights = {key: torch.from_numpy(array) for key, array in files.read(exchange, case.name).items()}
    missing, unknown = net.load_state_dict(weights, strict=False)
    differing = [key for key in missing if not key.endswith("num_batches_tracked")] + unknown
    if differing:
        raise ValueError(f"{case.name}: expected weights of the same names; got others at {', '.join(differing)}")
    net = net.to(memory_format=torch.channels_last)
    x, labels = inputs(case.n, case.shape, case.classes, seed=231)
    if form == "forward":
        net.eval()
        forward = torch.inference_mode()(lambda: net(image(x)))
        return Job(forward, lambda y: [y.numpy()])
    return Job(_step(net.train(), image(x), torch.from_numpy(labels.astype(np.int64))), _read)


def _step(net: nn.Module, x: Tensor, labels: Tensor) -> Callable[[], Any]:
    """Steps on one batch; the first drops nothing, so that it can be compared."""
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    dropouts = [(module, module.p) for module in net.modules() if isinstance(module, nn.Dropout)]
    torch_nets.without_dropout(net)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = torch_nets.loss(net(x), labels)
        loss.backward()
        optimizer.step()
        for module, rate in dropouts:
            module.p = rate
        return loss.detach(), net, optimizer

    return step


def _read(result: tuple[Tensor, nn.Module, torch.optim.Optimizer]) -> list[np.ndarray]:
    loss, net, optimizer = result
    velocity = {name: optimizer.state[p]["momentum_buffer"].numpy() for name, p in net.named_parameters()}
    statistics = {name: tensor.numpy() for name, tensor in net.named_buffers() if tensor.ndim}
    return [loss.numpy(), files.norms(velocity | statistics)]
