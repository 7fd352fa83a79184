"""The results as Markdown: one row a side over all test problems, then every problem."""

from collections.abc import Sequence
from typing import Any

from optimizer_bench.sides import SIDES
from optimizer_bench.solving import TOLERANCE, Record, Solution, summaries


def document(limits: dict[str, Any], records: Sequence[Record]) -> list[str]:
    """A section of the benchmark's document."""
    return [
        f"The {len({record.number for record in records})} problems of Moré, Garbow and Hillstrom, "
        f"{len(records)} with their sizes, from the standard starts in float64; defaults of each minimiser, with a "
        f"gradient of {limits['gtol']:g} (largest entry) and {limits['steps']} steps as its limits. Solved: within "
        f"{TOLERANCE:g} (1 + |f|) of a known minimum f. A claim is false where the minimiser says that it converged "
        "to a point that is none.",
        "",
        *summary_lines(records),
        "",
        *problem_lines(records),
        "",
    ]


def summary_lines(records: Sequence[Record]) -> list[str]:
    """A row a side."""
    rows = summaries(records)
    common = rows[0].common if rows else 0
    lines = [
        f"Means are geometric, over the {common} forms that all of them solve; an evaluation is of the value, with or "
        "without the gradient; the second number counts only until the value is that of the minimum.",
        "",
        "| minimiser | solved | false claims | solved, not claimed | evaluations | with gradient | ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (
            _title(row.side), f"{row.solved} of {row.problems}", str(row.false_claims), str(row.unclaimed),
            f"{_number(row.evaluations)}; {_number(row.needed)}", _number(row.gradients), _number(row.milliseconds),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def problem_lines(records: Sequence[Record]) -> list[str]:
    """A row a problem: evaluations of every side, and where it was not solved the value."""
    sides = list(records[0].sides) if records else []
    lines = [
        "Evaluations until the minimiser stopped (ms of one call); bold where no known minimum was reached, with the "
        "value, and marked ! where that was called one.",
        "",
        "| number | problem | n | m | " + " | ".join(map(_title, sides)) + " |",
        "|---:|---|---:|---:|" + "---:|" * len(sides),
    ]
    for record in records:
        cells = (str(record.number), record.name, str(record.n), str(record.m))
        solutions = (cell(record.sides[side]) for side in sides)
        lines.append("| " + " | ".join((*cells, *solutions)) + " |")
    return lines


def cell(solution: Solution) -> str:
    """One solution, short."""
    text = str(solution.evaluations) + ("" if solution.seconds is None else f" ({_number(1e3 * solution.seconds)})")
    if solution.solved:
        return text
    value = "not finite" if solution.value is None else f"{solution.value:.3g}"
    return f"**{text}: {value}{'!' if solution.falsely_claimed else ''}**"


def _title(side: str) -> str:
    return SIDES[side].title


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
