"""What was compared, as Markdown."""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
"""Of a network: `counts`, `logits` and `step`, each with `agrees`, and with `failed` where there is nothing else."""

PARTS = ("loss", "gradients", "statistics", "weights")


def count_lines(records: Mapping[str, Record]) -> list[str]:
    """A row a network with its counts and the difference of its scores."""
    lines = [
        "| network | parameters | torchvision | G MACs | torchvision | largest difference of scores "
        "| relative, in norm | largest score |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, record in records.items():
        counts, logits = record["counts"], record["logits"]
        if failed := counts.get("failed") or logits.get("failed"):
            lines.append(f"| **{name}** | {failed} | | | | | | |")
            continue
        published = counts.get("published_gmacs")
        cells = (
            name,
            f"{counts['parameters']:,}",
            _marked(f"{counts['torch_parameters']:,}", counts["agrees"]),
            f"{counts['macs'] / 1e9:.3f}",
            "-" if published is None else _marked(f"{published:.3f}", counts["agrees"]),
            _marked(f"{logits['difference']:.1e}", logits["agrees"]),
            f"{logits['relative']:.1e}",
            f"{logits['largest']:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def step_lines(records: Mapping[str, Record]) -> list[str]:
    """A row a network and precision with the relative differences of a training step."""
    lines = [
        "| network | precision | loss | gradient | running statistics | weights after it "
        "| gradient from that in float64: jax231; PyTorch |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, record in records.items():
        if "step" not in record:
            continue
        step = record["step"]
        if "failed" in step:
            lines.append(f"| **{name}** | {step['failed']} | | | | | |")
            continue
        rounding = "; ".join(f"{step['rounding'][side]:.1e}" for side in ("jax231", "torch"))
        for precision in ("float32", "float64"):
            cells = (
                _marked(name, step["agrees"]),
                precision,
                *(f"{step[precision][part]:.1e}" if part in step[precision] else "-" for part in PARTS),
                rounding if precision == "float32" else "",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def document(facts: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """What stands in the gallery."""
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    lines = [
        f"`{facts['command']}`; {versions}.",
        "",
        "Evaluation in float32: the same random weights and running statistics, two random images of 224x224.",
        "",
        *count_lines(records),
        "",
        "One step of SGD from the same random weights on the same batch of four, nothing dropped: differences relative "
        "in norm. In float32 rounding moves single units across the kink of ReLU, and both gradients are as far from "
        "that in float64 as the last column says; in float64 they are the same.",
        "",
        *step_lines(records),
    ]
    return "\n".join(lines) + "\n"


def progress(part: str, comparison: Record) -> str:
    """A line for the terminal."""
    if "failed" in comparison:
        return f"failed: {comparison['failed']}"
    agrees = "agrees" if comparison["agrees"] else "DIFFERS"
    match part:
        case "counts":
            return f"{agrees}: {comparison['parameters']:,} parameters, {comparison['macs'] / 1e9:.3f} G MACs"
        case "logits":
            return f"{agrees}: scores differ by {comparison['difference']:.1e} of {comparison['largest']:.1f}"
    return f"{agrees}: " + "; ".join(
        f"{precision} " + ", ".join(f"{part} {value:.1e}" for part, value in comparison[precision].items())
        for precision in ("float32", "float64")
    )


def missed(records: Mapping[str, Record]) -> list[str]:
    """What does not agree, or could not be compared."""
    return [f"{name}, {part}" for name, record in records.items() for part in record if not record[part]["agrees"]]


def _marked(text: str, agrees: bool) -> str:
    return text if agrees else f"**{text}**"
