"""Which optimizer is best on real digits, per gradient and per second? The README's comparison: files, picture, table.

    python experiments/compare_digits.py

runs what ``jax231 compare`` runs without arguments (two to three minutes on two cores), keeps the plain files in
``experiments/results/compare-digits``, draws ``compare-digits.png`` beside them, and writes the table of measured
results in the README. A finished study is only drawn and written again.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cyclopts
from document import replace_between

from jax231.compare import study
from jax231.compare.config import Config
from jax231.measure.summary import Spread, summarize
from jax231.report.page import write_report
from jax231.report.picture import write_picture
from jax231.report.read import Results, read_study

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- results:begin, made by `python experiments/compare_digits.py` -->", "<!-- results:end -->"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The comparison, where its files go, and the document that holds its table."""

    compare: Config = field(default_factory=Config)
    folder: Path = HERE / "results" / "compare-digits"
    document: Path = HERE.parent / "README.md"


def main(config: Experiment = Experiment()) -> Path:
    """Run or finish the comparison; returns the picture's path."""
    study.run(config.compare, config.folder, command="python experiments/compare_digits.py")
    write_report(config.folder)
    replace_between(config.document, BEGIN, END, table(read_study(config.folder)))
    return write_picture(config.folder, config.folder.with_suffix(".png"))


def table(results: Results) -> str:
    """The results as Markdown, a row an optimizer and problem, cheapest to the 1 % target first."""
    study, device = results.study, results.study.device
    versions = ", ".join(f"{name} {version}" for name, version in study.versions.items())
    rates = "; ".join(
        f"{problem.title}: gradient {1e3 * (problem.rates.gradient_seconds or 0):.2g} ms"
        + (f", hvp {problem.rates.hvp:.2g}" if problem.rates.hvp else "")
        + (f", Hessian {problem.rates.hessian:.3g}" if problem.rates.hessian else "")
        for problem in study.problems.values()
    )
    lines = [
        f"`{study.command}` on {device.cpu}, {device.cores} cores, {device.os}; {versions}. Medians and ranges of "
        f"{len(study.fresh_seeds)} fresh seeds; the target is a relative gap of 1 % to the best known loss; cost in "
        f"gradient-equivalents. Exchange rates in gradients: {rates}.",
        "",
        "| problem | optimizer | setting | cost to 1 % | seconds to 1 % | final loss | test accuracy | diverged |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for problem, rows in summarize(results.runs, results.lanes).items():
        for row in rows:
            reach = row.reach[1e-2]
            cells = (
                study.problems[problem].title,
                study.optimizers[row.optimizer].title,
                f"{row.setting:.3g}" + (f" ({row.edge} edge)" if row.edge else ""),
                spread(reach.cost, "{:.3g}"),
                spread(reach.seconds, "{:.2g}"),
                spread(row.final_loss, "{:.4g}"),
                "-" if row.accuracy is None else spread(row.accuracy, "{:.1%}"),
                f"{row.diverged} of {row.seeds}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: Spread, form: str) -> str:
    """Median and range; a dash for what was not reached."""
    cells = ["-" if abs(value) == float("inf") else form.format(value) for value in values]
    return cells[0] if len(set(cells)) == 1 else f"{cells[0]} ({cells[1]}..{cells[2]})"


if __name__ == "__main__":
    print(cyclopts.run(main, result_action="return_value"))
