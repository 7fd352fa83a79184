"""Which optimizer is best on real digits, per gradient and per second? The README's comparison, its files and picture.

    python experiments/compare_digits.py

runs what ``jax231 compare`` runs without arguments (about two minutes on two cores), keeps the plain files in
``experiments/results/compare-digits`` and draws ``compare-digits.png`` beside them. A finished study is only drawn again.
"""

from dataclasses import dataclass
from pathlib import Path

import cyclopts

from jax231.compare import study
from jax231.compare.config import Config
from jax231.report.page import write_report
from jax231.report.picture import write_picture

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The comparison, and where its files go."""

    compare: Config = Config()
    folder: Path = HERE / "results" / "compare-digits"


def main(config: Experiment = Experiment()) -> Path:
    """Run or finish the comparison; returns the picture's path."""
    study.run(config.compare, config.folder)
    write_report(config.folder)
    return write_picture(config.folder, config.folder.with_suffix(".png"))


if __name__ == "__main__":
    print(cyclopts.run(main, result_action="return_value"))
