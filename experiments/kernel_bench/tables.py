"""The results as Markdown: the ratios that were aimed at, then every case."""

from collections.abc import Iterable, Sequence

from kernel_bench import turns
from kernel_bench.record import Figure, Record, Results
from kernel_bench.sides import SIDES
from kernel_bench.targets import Target, targets

OTHERS = ("torch_compile", "faiss", "sklearn", "numpy")
"""Sides with few cases: they share a column."""


def document(results: Results) -> str:
    """What stands in the README."""
    device, versions = results.device, results.versions
    peaks = []
    if results.peak_flops:
        peaks.append(f"a matrix product {results.peak_flops / 1e9:.0f} GFLOP/s")
    if results.peak_bytes:
        peaks.append(f"a memory copy {results.peak_bytes / 1e9:.0f} GB/s")
    lines = [
        f"`{results.command}` on {device['cpu']}, {device['cores']} cores, {device['os']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". float32. Each side in a process of its own, in turns, new arrays in huge pages; "
        + f"medians of {results.pace['rounds']:.0f} rounds. "
        + (f"Peaks measured beside them: {', '.join(peaks)}. " if peaks else "")
        + "Below 1 is faster; a ratio above its target is bold.",
        "",
        *ratio_lines(targets(results)),
    ]
    if disagreeing := [f"{r.case} {r.form} {side}" for r, side, f in _figures(results) if f.agrees is False]:
        allowed = f"{turns.TOLERANCE:.1%}; {turns.NETWORK_TOLERANCE:.0%} for networks"
        differing = ", ".join(disagreeing)
        lines += ["", f"Results that differ in norm by more than rounding explains ({allowed}): {differing}."]
    lines += ["", "<details><summary>Every case</summary>", "", *case_lines(results), "", "</details>"]
    return "\n".join(lines) + "\n"


def ratio_lines(rows: Iterable[Target]) -> list[str]:
    """A row a target, with what it was aimed at beside it."""
    lines = ["| what | XLA's own forms | compiled | target | plain JAX | target |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        compiled, plain = ((row.compiled, row.compiled_target), (row.plain, row.plain_target))
        cells = (row.what, _values(row.xla), _values(*compiled), _values(row.compiled_target), _values(*plain),
                 _values(row.plain_target))  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def case_lines(results: Results) -> list[str]:
    """A row a case and form: milliseconds of every side, the floors, and the shares of the peaks that are reached."""
    heading = (
        "case", "form", *(SIDES[side].title for side in ("compiled", "plain", "xla", "torch")), "others",
        "floor by FLOPs; bytes", "of matmul peak", "of memory peak",
    )  # fmt: skip
    lines = [
        "Milliseconds of one iteration and one model, median (interquartile range over it). Forms: `gradient` is "
        "forward and backward, of a network a whole training step; `scan` the same inside a loop, `vmap` over four "
        "models. Shares are the compiled kernels' (else the fastest side's): of a measured matrix product's FLOP/s, of "
        "a measured copy's bytes a second, which a case whose arrays stay in the caches can exceed.",
        "",
        "| " + " | ".join(heading) + " |",
        "|---|---|" + "---:|" * (len(heading) - 2),
    ]
    for record in results.records:
        best = _rated(record)
        cells = (
            record.title,
            record.form,
            *(_milliseconds(record.sides.get(side)) for side in ("compiled", "plain", "xla", "torch")),
            "; ".join(f"{side} {_milliseconds(record.sides[side])}" for side in OTHERS if side in record.sides) or "-",
            "; ".join("-" if s is None else f"{1e3 * s:.3g}" for s in (record.floor_by_flops, record.floor_by_bytes)),
            *("-" if share is None else f"{share:.0%}" for share in (best.of_flops, best.of_bytes)),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def progress(record: Record) -> str:
    """One line for the terminal."""
    figures = []
    for side, figure in record.sides.items():
        text = f"{side} {_milliseconds(figure)}" if figure.median else f"{side} - ({figure.missing})"
        figures.append(text + ("" if figure.agrees is not False else f" DIFFERS by {figure.error:.2g}"))
    return "  ".join(figures)


def _figures(results: Results) -> Iterable[tuple[Record, str, Figure]]:
    return ((record, side, figure) for record in results.records for side, figure in record.sides.items())


def _rated(record: Record) -> Figure:
    compiled = record.sides.get("compiled")
    if compiled is not None and compiled.median:
        return compiled
    measured = [figure for figure in record.sides.values() if figure.median]
    return min(measured, key=lambda figure: figure.median or 0, default=Figure())


def _milliseconds(figure: Figure | None) -> str:
    if figure is None or figure.median is None:
        return "-"
    return f"{1e3 * figure.median:.3g} ({figure.spread or 0:.0%})"


def _values(values: Sequence[float | None], limits: Sequence[float | None] = ()) -> str:
    cells = []
    for i, value in enumerate(values):
        text = "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"
        limit = limits[i] if i < len(limits) else None
        cells.append(f"**{text}**" if value is not None and limit is not None and value > limit else text)
    return "; ".join(cells)
