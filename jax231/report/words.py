"""Numbers and results in plain words."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from jax231.measure.summary import RANKED, TAUS, Number, Row, Spread
from jax231.report.read import Device, Results

GE = "gradient-equivalents"


def number(value: Number | None) -> str:
    """Two or three digits: 12,300, 312, 31, 9.3, 0.27, 3.2·10⁻⁵; "∞" and "–" where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        mantissa = mantissa.removesuffix(".0")
        return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"
    if size >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 0.995 else f"{value:.2g}"


def duration(seconds: Number | None) -> str:
    """Seconds with a unit that fits: 0.41 ms, 12 ms, 1.3 s, 4.2 min."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds)
    if seconds >= 120:
        return f"{number(seconds / 60)} min"
    if seconds >= 0.1 or seconds == 0:
        return f"{number(seconds)} s"
    return f"{number(1e3 * seconds)} ms" if seconds >= 1e-4 else f"{number(1e6 * seconds)} µs"


def percent(share: Number | None) -> str:
    """A share in percent: 96.3 %."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def label(tau: float) -> str:
    """A target by its relative gap: 10 %, 1 %, 0.1 %."""
    return f"{100 * tau:g} %"


def times(ratio: Number) -> str:
    """A ratio: 3.4×."""
    return f"{number(ratio)}×"


def listing(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def spread_text(spread: Spread, form: Callable[[float], str] = number) -> str:
    """The range over seeds with its unit once, or nothing where it is a point."""
    low, high = form(spread.low), form(spread.high)
    unit = high.partition(" ")[2]
    return "" if low == high else f"{low.removesuffix(f' {unit}')}–{high}"


def between(value: object) -> str:
    """A measured spread: a pair is a range, a number the interquartile range over the median."""
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(x, float | int) for x in value):
        return f"{number(value[0])}–{number(value[1])}"
    return f"spread {number(100 * value)} %" if isinstance(value, float | int) else ""


def date(created: str) -> str:
    """An ISO time as a day: 20 November 2026; as it stands if it is not one."""
    try:
        day = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{day.day} {day:%B %Y}"


def machine(device: Device, versions: Mapping[str, str | None], created: str = "") -> list[tuple[str, str]]:
    """Terms and values of the machine and the versions, those that are known."""
    accelerator = f"{device.count} × {device.kind}" if device.kind else device.platform
    facts = {
        "Device": f"{device.platform}, {accelerator}" if device.platform != device.kind else device.platform,
        "CPU": device.cpu + (f", {device.cores} cores" if device.cores else ""),
        "Memory": f"{device.memory_gb:.3g} GB" if device.memory_gb else "",
        "System": device.os,
        "Created": created,
        **versions,
    }
    return [(term, value) for term, value in facts.items() if value]


def headline(results: Results, tables: Mapping[str, Sequence[Row]]) -> str:
    """One sentence over all problems: how often a second-order method is the cheapest and the fastest, by target."""
    tables = {problem: rows for problem, rows in tables.items() if rows}
    if all(least(rows, RANKED, "cost") is None for rows in tables.values()):
        return f"No optimizer has reached the {label(RANKED)} target on any problem."
    won = {}
    for tau in (RANKED, min(TAUS)):
        for measure in ("cost", "seconds"):
            winners = [first for rows in tables.values() if (first := least(rows, tau, measure)) is not None]
            won[tau, measure] = sum(results.study.optimizers[row.optimizer].order == 2 for row in winners)
    total = f"{len(tables)} problem{'s' if len(tables) > 1 else ''}"
    close, closer = ((won[tau, "cost"], won[tau, "seconds"]) for tau in (RANKED, min(TAUS)))
    return (
        f"To the {label(RANKED)} target a second-order method is the cheapest on {close[0]} of {total} and the fastest "
        f"on {close[1]}; to the {label(min(TAUS))} target on {closer[0]} and {closer[1]}."
    )


def least(rows: Sequence[Row], tau: float, measure: str) -> Row | None:
    """The row with the least median cost or time to a target; None where no median reached it."""
    reached = [row for row in rows if math.isfinite(getattr(row.reach[tau], measure).median)]
    return min(reached, key=lambda row: getattr(row.reach[tau], measure).median, default=None)


def verdict(results: Results, problem: str, rows: Sequence[Row]) -> str:
    """What came out on one problem, in one or two sentences."""
    optimizers = results.study.optimizers

    def title(row: Row) -> str:
        return optimizers[row.optimizer].title.replace("-", "\N{NON-BREAKING HYPHEN}")

    if not rows:
        return "No final run is there yet."
    ranked = [row for row in rows if math.isfinite(row.reach[RANKED].cost.median)]
    if not ranked:
        nearest = min(rows, key=lambda row: row.final_gap.median)
        if not math.isfinite(nearest.final_gap.median):
            return "Every optimizer failed: no median run ended with a finite loss."
        gap = number(100 * nearest.final_gap.median)
        return (
            f"No median run reached the {label(RANKED)} target; {title(nearest)} came nearest, with a gap of {gap} %."
        )
    first = ranked[0]
    cost = first.reach[RANKED].cost
    seeds = spread_text(cost)
    range_text = f" ({seeds} over {first.seeds} seeds)" if seeds else ""
    order, spent = optimizers[first.optimizer].order, f"{number(cost.median)} {GE}{range_text}"
    if len(rows) == 1:
        return f"Only {title(first)} was run; it reaches the {label(RANKED)} target for {spent}."
    text = f"{title(first)} reaches the {label(RANKED)} target for the least cost, {spent}"
    other = "first-order rule" if order == 2 else "second-order method"
    rivals = [row for row in rows if optimizers[row.optimizer].order != order]
    best = next((row for row in ranked if row in rivals), None)
    if best is not None:
        needed = number(best.reach[RANKED].cost.median)
        text += f"; {title(best)}, the best {other}, needs {needed}"
    elif rivals:
        text += f"; no {other} reaches it within its budget"
    fastest = min(ranked, key=lambda row: row.reach[RANKED].seconds.median)
    taken = duration(fastest.reach[RANKED].seconds.median)
    if fastest.optimizer == first.optimizer:
        text += f". It is the fastest by the clock too, {taken}."
    else:
        own = duration(first.reach[RANKED].seconds.median)
        text += f". By the clock {title(fastest)} is the fastest, {taken} against {own}."
    far = least(rows, min(TAUS), "cost")
    if far is not None and far.optimizer != first.optimizer:
        needed = number(far.reach[min(TAUS)].cost.median)
        text += f" The closer target of {label(min(TAUS))} is cheapest for {title(far)}, {needed} {GE}."
    return text


def excess(results: Results, problem: str) -> str:
    """Which optimizers spent more than a problem's budget (a step is finished once begun), and how much; or nothing."""
    budget = results.study.problems[problem].budget
    spent: dict[str, float] = {}
    for run in results.runs:
        if run.problem == problem and budget is not None and run.cost[-1] > 1.1 * budget:
            spent[run.optimizer] = max(spent.get(run.optimizer, 0.0), float(run.cost[-1]))
    return listing([f"{results.study.optimizers[name].title} (up to {number(cost)})" for name, cost in spent.items()])


def failures(results: Results) -> str:
    """How many runs diverged, and whose winning settings lie on the edge of a grid."""
    runs, lanes = results.runs, results.lanes
    text = (
        f"{sum(lane.diverged for lane in lanes):,} of {len(lanes):,} runs of the sweeps and "
        f"{sum(run.diverged for run in runs):,} of {len(runs):,} final runs diverged."
    )
    edges = dict.fromkeys((run.optimizer, run.problem) for run in runs if run.edge)
    if edges:
        study = results.study
        where = {name: [study.problems[p].title for o, p in edges if o == name] for name, _ in edges}
        shown = "; ".join(f"{study.optimizers[name].title} on {listing(titles)}" for name, titles in where.items())
        text += f" The best setting lies on the edge of its grid, so a better one may lie beyond, for {shown}."
    return text
