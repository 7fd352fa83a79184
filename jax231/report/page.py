"""The report of a comparison: one HTML file that opens offline, on a phone and on paper."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax231.core.files import write_whole
from jax231.measure import summary
from jax231.measure.summary import Lane, Row, Run
from jax231.report import figures, style, words
from jax231.report.assemble import assembled
from jax231.report.read import Problem, Results, applies, read_study


def write_report(folder: Path | str) -> Path:
    """Read a run folder, write `report.html` into it, and return the file's path.

    Raises: ValueError where the folder's files are missing or corrupt; ModuleNotFoundError without the report extra.
    """
    results = read_study(folder)
    page = render(results)
    path = results.folder / "report.html"
    write_whole(path, page)
    return path


def render(results: Results) -> str:
    """The whole page as text."""
    return assembled("report.html.j2", ["report.css"], ["plots.js", "report.js"], **contents(results))


def contents(results: Results) -> dict[str, Any]:
    """Everything the template shows, from the results alone."""
    study = results.study
    looks = style.looks({name: kind.order for name, kind in study.optimizers.items()})
    sections = [
        _section(results, name, facts, looks, place) for place, (name, facts) in enumerate(study.problems.items())
    ]
    tables = {section["name"]: section["rows"] for section in sections}
    return {
        "study": study,
        "config": results.config,
        "missing": results.missing,
        "looks": {name: look._asdict() for name, look in looks.items()},
        "swatches": {name: swatch(look) for name, look in looks.items()},
        "headline": words.headline(results, tables),
        "verdicts": {section["id"]: section["verdict"] for section in sections},
        "titles": {section["id"]: section["facts"].title for section in sections},
        "failures": words.failures(results),
        "heats": [_heat(results, tables, measure) for measure in ("cost", "seconds")],
        "orders": [
            (order, [name for name, kind in study.optimizers.items() if kind.order == order])
            for order in sorted({kind.order for kind in study.optimizers.values()})
        ],
        "sections": sections,
        "taus": summary.TAUS,
        "ranked": summary.RANKED,
        "ceiling": figures.CEILING,
        "created": words.date(study.created),
        "machine": words.machine(study.device, study.versions, study.created),
        "durations": words.duration,
        "percents": words.percent,
    }


def _section(results: Results, name: str, facts: Problem, looks: dict[str, style.Look], place: int) -> dict[str, Any]:
    study = results.study
    runs: list[Run] = [run for run in results.runs if run.problem == name]
    lanes: list[Lane] = [lane for lane in results.lanes if lane.problem == name]
    rows: Sequence[Row] = summary.summarize_problem(runs, lanes) if runs else []
    scale = summary.problem_scale(runs, lanes)
    drawn: dict[str, list[Any]] = {"progress": [], "sensitivity": []}
    lowest = figures.LOWEST
    if scale is not None:
        if runs:
            lowest = figures.floor(scale, runs)
            drawn["progress"] = [
                (figures.AXES[m], figures.progress(runs, m, scale, looks, study.optimizers)) for m in summary.MEASURES
            ]
        for setting in dict.fromkeys(kind.setting for kind in study.optimizers.values()):
            figure = figures.sensitivity(lanes, rows, scale, lowest, looks, study.optimizers, setting)
            if figure is not None:
                drawn["sensitivity"].append((setting, figure))
    return {
        "id": f"{place + 1}-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
        "name": name,
        "facts": facts,
        "rows": rows,
        "scale": scale,
        "floor": lowest,
        "verdict": words.verdict(results, name, rows),
        "excess": words.excess(results, name),
        "absent": [
            kind.title
            for other, kind in study.optimizers.items()
            if not any(row.optimizer == other for row in rows) and applies(study, name, other)
        ],
        "unfit": [kind.title for other, kind in study.optimizers.items() if not applies(study, name, other)],
        "present": [other for other in looks if any(entry.optimizer == other for entry in (*runs, *lanes))],
        "counted": list(dict.fromkeys(key for row in rows for key in row.counts)),
        **drawn,
    }


def _heat(results: Results, tables: dict[str, Sequence[Row]], measure: str) -> dict[str, Any]:
    """Optimizer by problem: the ratio to the best, how strongly to shade it, and what to say where there is none."""
    cells = {}
    for problem, rows in tables.items():
        for optimizer in results.study.optimizers:
            row = next((row for row in rows if row.optimizer == optimizer), None)
            cells[problem, optimizer] = _cell(row, measure, applies(results.study, problem, optimizer))
    return {"measure": measure, "cells": cells}


def _cell(row: Row | None, measure: str, fits: bool) -> dict[str, Any]:
    if row is None:
        return {"kind": "none", "text": "not run yet" if fits else "does not apply", "taken": ""}
    ratio, reached = row.ratio[measure], row.reach[summary.RANKED]
    if ratio is not None and math.isfinite(ratio):
        taken = getattr(reached, measure).median
        text = words.duration(taken) if measure == "seconds" else words.number(taken)
        shade = max(0.0, 1 - math.log(ratio) / math.log(30))
        return {
            "kind": "reached",
            "text": words.times(ratio),
            "taken": text,
            "shade": round(shade, 2),
            "best": ratio == 1,
        }
    if 2 * row.diverged > row.seeds:
        return {"kind": "diverged", "text": "diverged", "taken": f"{row.diverged} of {row.seeds} seeds"}
    return {"kind": "missed", "text": "not reached", "taken": f"{reached.reached} of {reached.seeds} seeds"}


def swatch(look: style.Look) -> str:
    """The line and marker of an optimizer as an SVG drawing in the current colour (no text of the study in it)."""
    corners = style.polygon(look.marker)
    if corners is None:
        mark = '<circle cx="17" cy="7" r="4"/>'
    else:
        points = " ".join(f"{17 + 4.6 * x:.1f},{7 + 4.6 * y:.1f}" for x, y in corners)
        mark = f'<polygon points="{points}"/>'
    dash = "" if look.dash == "solid" else f' stroke-dasharray="{look.dash.replace("px", "")}"'
    line = f'<line x1="0" x2="34" y1="7" y2="7" stroke="currentColor" stroke-width="{look.width}"{dash}/>'
    return f'<svg class="swatch" viewBox="0 0 34 14" aria-hidden="true" fill="currentColor">{line}{mark}</svg>'
