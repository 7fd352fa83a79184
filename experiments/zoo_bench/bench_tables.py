"""What was timed, as Markdown: the geometric means that were aimed at, the worst three, then every network."""

from collections.abc import Iterable
from typing import NamedTuple

from kernel_bench.record import Figure, Record, Results, geometric_mean, ratio

from zoo_bench.bench_cases import FORMS

TARGET = 1.0
"""The most that the geometric means should be."""

WORST = 3


class Row(NamedTuple):
    """The time of a form of all networks against PyTorch's: a geometric mean, and the worst network's."""

    what: str
    mean: float | None
    worst: float | None


def rows(results: Results) -> list[Row]:
    """One for each form."""
    titles = {"forward": "forward, evaluation", "step": "training step"}
    found = {form: [value for value, record in ratios(results) if record.form == form] for form in FORMS}
    return [
        Row(f"{titles[form]} / PyTorch, {len(values)} networks", geometric_mean(values), max(values, default=None))
        for form, values in found.items()
    ]


def ratios(results: Results) -> list[tuple[float, Record]]:
    """Our time over PyTorch's with the record, where both were measured; the largest first."""
    found = [(ratio(record.median("jax231"), record.median("torch")), record) for record in results.records]
    return sorted(((value, record) for value, record in found if value is not None), key=lambda pair: -pair[0])


def document(results: Results) -> str:
    """What stands in the README."""
    device = results.device
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        f"`{results.command}` on {device['cpu']}, {device['cores']} cores, {device['os']}; {versions}. float32. "
        "PyTorch eager, channels last, as many threads as cores. Each side in a process of its own, in turns, from the "
        "same weights on the same batch: scores, first loss, gradient and statistics are compared first. A step is one "
        "of SGD with momentum on the mean cross entropy, normalisation and dropout as in training; our buffers are "
        f"donated. Medians of {results.pace['rounds']:.0f} rounds; below 1 is faster; above the target is bold.",
        "",
        *target_lines(rows(results)),
        "",
        *worst_lines(results),
        "",
        *case_lines(results),
    ]
    for side, why in results.missing.items():
        lines += ["", f"Left out: {side}, {why}."]
    return "\n".join(lines) + "\n"


def target_lines(rows: Iterable[Row]) -> list[str]:
    """A row a form."""
    lines = ["| what | geometric mean | target | worst |", "|---|---:|---:|---:|"]
    for row in rows:
        mean = _number(row.mean)
        cells = (
            row.what,
            f"**{mean}**" if row.mean and row.mean > TARGET else mean,
            _number(TARGET),
            _number(row.worst),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def worst_lines(results: Results) -> list[str]:
    """The networks that are slowest against PyTorch."""
    worst = [f"{record.title}, {record.form} ({value:.2f})" for value, record in ratios(results)[:WORST]]
    return [f"Slowest against PyTorch: {'; '.join(worst)}."] if worst else []


def case_lines(results: Results) -> list[str]:
    """A row a network and form."""
    lines = [
        "Milliseconds, median (interquartile range over it). G FLOP/s count multiplications with weights twice, of a "
        "step three times that.",
        "",
        "| network | form | jax231 ms | PyTorch ms | ratio | jax231 G FLOP/s | compile s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for record in results.records:
        ours, theirs = (record.sides.get(side, Figure()) for side in ("jax231", "torch"))
        rate = ratio(record.flops, ours.median)
        cells = (
            record.title, record.form, _milliseconds(ours), _milliseconds(theirs),
            _number(ratio(ours.median, theirs.median)), "-" if rate is None else f"{rate / 1e9:.0f}",
            "-" if ours.compile_seconds is None else f"{ours.compile_seconds:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def progress(record: Record) -> str:
    """A line for the terminal."""
    return "  ".join(
        f"{side} {_milliseconds(figure)}"
        + (f" (compiled in {figure.compile_seconds:.0f} s)" if figure.compile_seconds else "")
        + (f" ({figure.missing})" if figure.missing else "")
        + (f" DIFFERS by {figure.error:.2g}" if figure.agrees is False else "")
        for side, figure in record.sides.items()
    )


def _milliseconds(figure: Figure) -> str:
    if figure.median is None:
        return "-"
    differs = ", differs" if figure.agrees is False else ""
    return f"{1e3 * figure.median:.3g} ({figure.spread or 0:.0%}{differs})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
