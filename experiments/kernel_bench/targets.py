"""The ratios that were aimed at, from the measured medians: below 1 is faster than what stands under the stroke."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel_bench.cases import CASES
from kernel_bench.record import Results, geometric_mean, ratio

Value = float | None


@dataclass(frozen=True)
class Target:
    """One row: the values of each side, in the order in which `what` names them, and what was aimed at."""

    what: str
    xla: list[Value]
    compiled: list[Value]
    compiled_target: list[Value]
    plain: list[Value]
    plain_target: list[Value]


def targets(results: Results) -> list[Target]:
    """All rows; None where one of the two was not measured."""
    convolutions = [case.name for case in CASES if case.group == "conv"]
    seconds = results.median

    def row(what: str, values: Callable[[str], Sequence[Value]], compiled: list[Value], plain: list[Value]) -> Target:
        xla, ours, forms = (list(values(side)) for side in ("xla", "compiled", "plain"))
        return Target(what, xla, ours, compiled, forms, plain)

    def in_loop(side: str) -> list[Value]:
        ratios = [ratio(seconds(case, "scan", side), seconds(case, "gradient", side)) for case in convolutions]
        known = [value for value in ratios if value]
        return [geometric_mean(known), max(known, default=None)]

    def against_torch(*pairs: tuple[str, str]) -> Callable[[str], list[Value]]:
        return lambda side: [ratio(seconds(c, f, side), seconds(c, "gradient", "torch")) for c, f in pairs]

    def over_convolutions(side: str) -> list[Value]:
        ratios = against_torch(*((case, "gradient") for case in convolutions))(side)
        return [geometric_mean([value for value in ratios if value])]

    def of_neighbors(side: str) -> list[Value]:
        return [
            ratio(seconds("knn", "forward", side), seconds("knn", "forward", peer)) for peer in ("faiss", "sklearn")
        ]

    def of_products(side: str) -> list[Value]:
        gradient = seconds("hvp-resnet20", "gradient", side)
        return [ratio(seconds("hvp-resnet20", form, side), gradient) for form in ("linearized", "oneshot")]

    def of_models(side: str) -> list[Value]:
        return [ratio(seconds("resnet20", "vmap", side), seconds("resnet20", "gradient", side))]

    return [
        row("convolution gradient inside `scan` / alone, geometric mean; worst shape", in_loop, [1.1, 1.1], [1.1, 1.1]),
        row("convolution forward and backward / PyTorch, geometric mean over shapes", over_convolutions, [0.9], [1.4]),
        row("ResNet-20 training step alone; inside `scan` / PyTorch",
            against_torch(("resnet20", "gradient"), ("resnet20", "scan")), [0.9, 0.9], [1.8, 1.8]),
        row("ResNet-20 training step vmapped over 4 models, per model / alone", of_models, [1.1], [1.2]),
        row("max pool forward and backward 2x2/2; 3x3/2 / PyTorch",
            against_torch(("maxpool-2x2", "gradient"), ("maxpool-3x3", "gradient")), [0.5, 0.8], [0.5, 2.0]),
        row("transpose convolution forward and backward / PyTorch",
            against_torch(("transpose-4x4", "gradient")), [0.9], [2.0]),
        row("LSTM forward and backward, 1 layer; 2 layers / PyTorch",
            against_torch(("lstm-1", "gradient"), ("lstm-2", "gradient")), [0.8, 0.8], [1.3, 1.3]),
        row("nearest neighbours / faiss; scikit-learn", of_neighbors, [1.0, 0.3], [1.3, None]),
        row("Hessian-vector product / gradient, ResNet-20: linearized and reused; one-shot", of_products,
            [2.1, 2.7], [2.1, 2.7]),
    ]  # fmt: skip
