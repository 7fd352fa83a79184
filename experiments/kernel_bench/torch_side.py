"""The cases in PyTorch on the CPU: images channels last, sequences time first where that is its own layout."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernel_bench import operands
from kernel_bench.cases import Case, Conv, ConvTranspose, Form, Neighbors, Peak, Pool, Recurrent, Training
from kernel_bench.job import Job
from kernel_bench.nets import Net
from kernel_bench.torch_nets import (
    Kept,
    gates_to_ours,
    gates_to_torch,
    kernel_to_ours,
    kernel_to_torch,
    turned,
)
from kernel_bench.torch_nets import (
    build as build_net,
)

Layouts = list[Callable[[np.ndarray], np.ndarray]]
"""For the result and each operand, what brings it into jax231's layout."""


def hello(side: str) -> dict[str, Any]:
    """The version, and the threads that work."""
    return {"versions": {"torch": str(torch.__version__)}, "threads": torch.get_num_threads()}


def build(side: str, case: Case, form: Form, exchange: Path) -> Job:
    """A case, eager or by `torch.compile`."""
    match case.work:
        case Training(net):
            return _training(net, compiled=side == "torch_compile")
        case Neighbors(k=k):
            return _neighbors(operands.neighbors(exchange), k)
        case Peak(kind):
            return _peak(kind, [torch.from_numpy(x) for x in operands.arrays(case)])
    fun, tensors, layouts = _operation(case.work, operands.arrays(case))
    if form == "forward":
        return Job(torch.inference_mode()(lambda: [fun(*tensors)]), lambda results: _read(results, layouts))
    for tensor in tensors:
        tensor.requires_grad_()
    run = torch.compile(fun) if side == "torch_compile" else fun

    def gradient() -> list[Tensor]:
        y = run(*tensors)
        return [y, *torch.autograd.grad(y, tensors, y.detach())]

    seconds = _seconds(gradient) if side == "torch_compile" else None
    return Job(gradient, lambda results: _read(results, layouts), seconds)


def _operation(work: Any, arrays: Sequence[np.ndarray]) -> tuple[Callable[..., Tensor], list[Tensor], Layouts]:
    """The function, its operands, and the way back for its result and for each gradient."""
    if isinstance(work, Recurrent):
        return _recurrent(work, arrays)
    tensors = [image(arrays[0])]
    layouts: Layouts = [_image_to_ours, _image_to_ours]
    if len(arrays) == 2:
        kernel = torch.from_numpy(kernel_to_torch(arrays[1]).copy())
        tensors.append(kernel.contiguous(memory_format=torch.channels_last))
        layouts.append(kernel_to_ours)
    match work:
        case Conv(_, _, stride, padding, groups):
            return lambda x, k: functional.conv2d(x, k, None, stride, padding, 1, groups), tensors, layouts
        case ConvTranspose(_, (size, *_), stride):
            return lambda x, k: functional.conv_transpose2d(x, k, None, stride, (size - stride) // 2), tensors, layouts
        case Pool("max", _, size, stride):
            return lambda x: functional.max_pool2d(x, size, stride), tensors, layouts
        case Pool(_, _, size, stride):
            return lambda x: functional.avg_pool2d(x, size, stride), tensors, layouts
    raise TypeError(f"expected an operation; got {work!r}")


def _recurrent(work: Recurrent, arrays: Sequence[np.ndarray]) -> tuple[Callable[..., Tensor], list[Tensor], Layouts]:
    """`nn.LSTM` or `nn.RNN` with time first; the second bias that PyTorch adds stays zero."""
    x, *weights = arrays
    lstm = work.cell == "lstm"
    module = (nn.LSTM if lstm else nn.RNN)(work.x[-1], work.units, work.layers)
    tensors = [torch.from_numpy(x.swapaxes(0, 1).copy())]
    layouts: Layouts = [_time_second, _time_second]
    for i, weight in enumerate(weights):
        layer, name = i // 3, ("weight_ih", "weight_hh", "bias_ih")[i % 3]
        parameter = getattr(module, f"{name}_l{layer}")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(gates_to_torch(weight).copy() if lstm else weight.T.copy()))
        tensors.append(parameter)
        layouts.append(gates_to_ours if lstm else turned)
    for layer in range(work.layers):
        nn.init.zeros_(getattr(module, f"bias_hh_l{layer}")).requires_grad_(False)
    return lambda x, *_: module(x)[0], tensors, layouts


def _training(net: Net, *, compiled: bool) -> Job:
    """Steps of the fused SGD with momentum on one batch."""
    start = operands.batch(net)
    kept: Kept = []
    model = build_net(net.layers, net.inputs, iter(start.params), kept).to(memory_format=torch.channels_last).train()
    parameters = [parameter for parameter, _ in kept]
    optimizer = torch.optim.SGD(parameters, lr=operands.RATE, momentum=operands.MOMENTUM, fused=True)
    images = start.x.ndim == 4
    x = image(start.x) if images else torch.from_numpy(start.x.astype(np.int64))
    labels = torch.from_numpy(start.labels.astype(np.int64))
    run = torch.compile(model) if compiled else model

    def gradient() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits = run(x)
        if not images:
            logits = logits.flatten(0, 1)
        loss = functional.cross_entropy(logits, labels if images else labels.flatten())
        loss.backward()
        return loss.detach()

    def step() -> Tensor:
        loss = gradient()
        optimizer.step()
        return loss

    def read(loss: Tensor) -> list[np.ndarray]:
        velocity = [to_ours(optimizer.state[p]["momentum_buffer"].numpy()) for p, to_ours in kept]
        return [loss.numpy(), np.concatenate([v.ravel() for v in velocity])]

    return Job(step, read, _seconds(gradient) if compiled else None)


def _neighbors(examples: tuple[np.ndarray, np.ndarray, np.ndarray], k: int) -> Job:
    train_x, train_y, x = (torch.from_numpy(array) for array in examples)

    @torch.inference_mode()
    def predict() -> Tensor:
        places = torch.cdist(x, train_x).topk(k, largest=False).indices
        return torch.mode(train_y[places], 1).values

    return Job(predict, lambda labels: [labels.numpy()])


def _peak(kind: str, tensors: Sequence[Tensor]) -> Job:
    if kind == "matmul":
        return Job(lambda: [tensors[0] @ tensors[1]], lambda results: [results[0].numpy()])
    out = torch.empty_like(tensors[0])
    return Job(lambda: [torch.add(tensors[0], 1, out=out)], lambda results: [results[0].numpy()])


def image(x: np.ndarray) -> Tensor:
    """(n, h, w, c) as it lies in memory, seen as PyTorch's (n, c, h, w)."""
    n, h, w, c = x.shape
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
    return tensor.as_strided((n, c, h, w), (h * w * c, 1, w * c, c))


def _image_to_ours(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 3, 1)


def _seconds(call: Callable[[], Any]) -> float:
    """Of the first call, which compiles."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _time_second(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(0, 1)


def _read(results: Sequence[Tensor], layouts: Layouts) -> list[np.ndarray]:
    arrays = [result.detach().numpy() for result in results]
    return [np.ascontiguousarray(to_ours(x)) for to_ours, x in zip(layouts, arrays, strict=False)]
