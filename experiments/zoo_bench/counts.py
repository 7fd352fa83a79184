"""Parameters and multiplications: ours, those of torchvision's module, and those of torchvision's own table."""

from typing import Any

import torch

from jax231.models import zoo
from jax231.models.summary import inputs_of, of_entry, summary
from zoo_bench import torch_nets
from zoo_bench.shared import PEERS
from zoo_bench.torchvision_models import models

GIGA = 1e9


def compare(name: str) -> dict[str, Any]:
    """The counts; `agrees` where they are equal, as far as torchvision's table has digits."""
    entry, peer = zoo.entry(name), PEERS[name]
    with torch.device("meta"):
        module = torch_nets.build(name)
    ours = of_entry(entry)
    counts: dict[str, Any] = {
        "parameters": ours.parameters,
        "torch_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "macs": ours.macs,
    }
    agrees = counts["parameters"] == counts["torch_parameters"]
    if peer.torchvision is not None:
        meta = models().get_model_weights(peer.torchvision)["IMAGENET1K_V1"].meta
        counts |= {"published_parameters": meta["num_params"], "published_gmacs": meta["_ops"]}
        constructor = entry.constructor(entry.shape, entry.classes, **peer.published)
        listed = summary(constructor, inputs_of(entry, entry.shape)) if peer.published else ours
        agrees &= listed.parameters == meta["num_params"] and round(listed.macs / GIGA, 3) == meta["_ops"]
    return counts | {"agrees": agrees}
