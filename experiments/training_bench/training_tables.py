"""How fast the trainings were, as Markdown: examples a second, and how many times PyTorch's."""

import numpy as np
from kernel_bench.record import Figure, Record, Results

from training_bench.training_cases import CASES

TARGET = 1.1
"""How many times PyTorch's examples a second ours should be."""


def quartiles(record: Record, side: str) -> tuple[float, float, float] | None:
    """First quartile, median and third of how many times as fast as `side` ours was, round by round."""
    ours, theirs = (record.sides.get(name, Figure()) for name in ("jax231", side))
    if ours.median is None or theirs.median is None:
        return None
    low, median, high = np.quantile(
        [b / a for a, b in zip(ours.rounds, theirs.rounds, strict=False)], (0.25, 0.5, 0.75)
    )
    return float(low), float(median), float(high)


def document(results: Results) -> str:
    """What stands in the README."""
    device = results.device
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        f"`{results.command}` on {device['cpu']}, {device['cores']} cores, {device['os']}; {versions}. float32. "
        "Ours is the compiled epoch of `jax231 train`; PyTorch is eager, channels last, with fused optimizers and as "
        "many threads as cores. Same weights, data in memory, order of batches, augmentation and rates; losses "
        "of the first steps are compared first. Each side in a process of its own, in turns of about two seconds; "
        f"medians (interquartile range over them) of {results.pace['rounds']:.0f} rounds; the ratio is taken round by "
        f"round, with its quartiles. Above 1 is faster; a ratio below the target of {TARGET} is bold.",
        "",
        "| training | jax231 | PyTorch | ratio | torch.compile | ratio | compile s: jax231; torch.compile |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for record in results.records:
        cells = (
            record.title,
            _rate(record, "jax231"),
            _rate(record, "torch"),
            _ratio(record, "torch", bold=True),
            _rate(record, "torch_compile"),
            _ratio(record, "torch_compile"),
            _compiling(record),
        )
        lines.append("| " + " | ".join(cells) + " |")
    named = [f"{record.title}, {side}: {figure.missing}" for record in results.records
             for side, figure in record.sides.items() if figure.missing]  # fmt: skip
    for why in [f"{side}, {why}" for side, why in results.missing.items()] + named:
        lines += ["", f"Left out: {why}."]
    return "\n".join(lines) + "\n"


def progress(record: Record) -> str:
    """A line for the terminal."""
    said = [f"{side} {_rate(record, side)}" for side in record.sides]
    said += [f"DIFFERS by {f.error:.2g}" for f in record.sides.values() if f.agrees is False and f.error is not None]
    said += [f"{side}: {f.missing}" for side, f in record.sides.items() if f.missing]
    return f"{record.case:10} " + "  ".join([*said, f"ratio {_ratio(record, 'torch')}"])


def _rate(record: Record, side: str) -> str:
    figure, case = record.sides.get(side, Figure()), CASES[record.case]
    if figure.median is None:
        return "-"
    differs = ", differs" if figure.agrees is False else ""
    return f"{case.examples / figure.median:,.0f} {case.unit}/s ({figure.spread or 0:.0%}{differs})"


def _ratio(record: Record, side: str, *, bold: bool = False) -> str:
    found = quartiles(record, side)
    if found is None:
        return "-"
    low, median, high = found
    said = f"**{median:.2f}**" if bold and median < TARGET else f"{median:.2f}"
    return f"{said} ({low:.2f}..{high:.2f})"


def _compiling(record: Record) -> str:
    """Ours ahead of time; for `torch.compile` all of its first steps."""
    ours, theirs = (record.sides.get(name, Figure()).compile_seconds for name in ("jax231", "torch_compile"))
    return "; ".join("-" if seconds is None else f"{seconds:.0f}" for seconds in (ours, theirs))
