"""torchvision's models without its compiled operators: for CPU builds of PyTorch, which have none that fit.

Its wheel is installed without dependencies (``pip install --no-deps torchvision==0.29.2``); the models are plain
Python, but importing them looks up the operators of detection. They are declared here, without an implementation.
"""

import sys
from importlib import import_module
from types import ModuleType

import torch

OPERATORS = ("nms", "qnms", *(
    f"{prefix}{name}{suffix}"
    for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
    for prefix, suffix in (("", ""), ("_", "_backward"))
))  # fmt: skip

_declared: list[torch.library.Library] = []
"""The declarations last as long as this object."""


def models() -> ModuleType:
    """The module `torchvision.models`."""
    try:
        return import_module("torchvision.models")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in OPERATORS:
        library.define(f"{name}() -> Tensor")
    _declared.append(library)
    return import_module("torchvision.models")
