"""The sides of the comparison: how their processes are started, and which cases each of them has."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import side_process

from kernel_bench.cases import Case, Form, Neighbors, Peak, Pool, Training

SideName = Literal["compiled", "plain", "xla", "torch", "torch_compile", "faiss", "sklearn", "numpy"]


class Side(NamedTuple):
    """A title for tables, whether the peers' interpreter runs it, and its variables beside the common ones."""

    title: str
    peer: bool = False
    environment: Mapping[str, str] = {}


SIDES: dict[SideName, Side] = {
    "compiled": Side("compiled kernels"),
    "plain": Side("plain JAX forms", environment={"JAX231_KERNELS": "off"}),
    "xla": Side("XLA's own forms", environment={"JAX231_KERNELS": "off"}),
    "torch": Side("PyTorch, channels last", peer=True),
    "torch_compile": Side("the same by torch.compile", peer=True),
    "faiss": Side("faiss, flat index", peer=True),
    "sklearn": Side("scikit-learn, brute force"),
    "numpy": Side("NumPy"),
}


def environment(side: SideName) -> dict[str, str]:
    """The variables of a side's process."""
    return side_process.environment(**SIDES[side].environment)


def serves(side: SideName, case: Case, form: Form) -> bool:
    """Whether a side has the case in this form.

    An eager loop of PyTorch costs what its iterations cost, and models take turns there: "gradient" stands for both.
    """
    work = case.work
    match side:
        case "compiled" | "plain" | "xla":
            return side == "xla" or not isinstance(work, Peak)
        case "torch":
            return form in ("forward", "gradient") and case.group != "curvature"
        case "torch_compile":
            return form == "gradient" and isinstance(work, Training | Pool)
        case "faiss" | "sklearn":
            return isinstance(work, Neighbors)
    return isinstance(work, Peak)
