"""All parts as Markdown: the ratios that were aimed at, then every part with its machine and versions."""

from collections.abc import Mapping, Sequence

from optimizer_bench.parts import Part, Target
from optimizer_bench.registry import PARTS


def document(parts: Mapping[str, Part]) -> str:
    """What stands in the README."""
    lines = ["A value above its target is bold; below 1 is faster, or lower.", "", *target_lines(parts)]
    for name, part in parts.items():
        if not part.data:
            continue
        cpu, cores, system = (part.device.get(key, "?") for key in ("cpu", "cores", "os"))
        versions = ", ".join(f"{package} {version}" for package, version in part.versions.items())
        lines += [
            "", f"<details><summary>{PARTS[name].title}</summary>", "",
            f"`{part.command}` on {cpu}, {cores} cores, {system}; {versions}; {part.measured[:10]}.",
            *(f"Left out: {side}, {why}." for side, why in part.missing.items()),
            "", *PARTS[name].module.lines(name, part), "</details>",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def target_lines(parts: Mapping[str, Part]) -> list[str]:
    """A row a target of every part."""
    lines = ["| what | measured | target |", "|---|---:|---:|"]
    for name, part in parts.items():
        rows = PARTS[name].module.targets(name, part) if part.data else ()
        lines += [f"| {row.what} | {_values(row)} | {_numbers(row.targets)} |" for row in rows]
    return lines


def _values(row: Target) -> str:
    cells = []
    for value, target in zip(row.values, row.targets, strict=True):
        above = value is not None and target is not None and value > target
        cells.append(f"**{_number(value)}**" if above else _number(value))
    return "; ".join(cells)


def _numbers(values: Sequence[float | None]) -> str:
    return "; ".join(map(_number, values))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
