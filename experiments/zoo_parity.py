"""Do our networks compute what PyTorch's do? Counts, scores and a training step against torchvision.

    pip install --no-deps torchvision==0.29.2      # beside a CPU build of PyTorch: only its models are used
    python experiments/zoo_parity.py
    python experiments/zoo_parity.py --names resnet18 char_lstm --peers-python /path/to/a/python/with/both

compares every architecture that torchvision has too: parameters and multiplications with those of its module and of
its published table; scores at the same random weights, which our importer takes over; and, for those whose training
differs from evaluation, one SGD step: loss, gradient, running statistics and weights. Nothing is dropped in that step,
on either side: the rates of random layers are 0. Writes ``experiments/results/zoo-parity.json`` and the tables in
``experiments/README.md``, and ends with status 1 where a limit is missed. Networks that are not chosen keep their rows
as long as the versions are the same.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import cyclopts
from command_line import as_called
from document import replace_between
from side_process import Process, SideError, environment
from zoo_bench import parity_tables
from zoo_bench.shared import PEERS, Name

from jax231.core.checks import require
from jax231.core.files import write_whole

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- zoo-parity:begin, made by `python experiments/zoo_parity.py` -->", "<!-- zoo-parity:end -->"

LIMIT = 900.0
"""Seconds for one comparison; the longest compile a training step in two precisions."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is compared, and where it goes."""

    names: tuple[Name, ...] = get_args(Name)
    """Which networks."""

    peers_python: Path = Path(sys.executable)
    """The interpreter that has jax231, PyTorch and torchvision."""

    results: Path = HERE / "results" / "zoo-parity.json"
    """Where the figures go."""

    document: Path = HERE / "README.md"
    """Where the tables go, between their markers."""

    def __post_init__(self):
        require(set(self.names) <= set(PEERS), "zoo_parity", f"names among {', '.join(PEERS)}", names=self.names)


def main(config: Annotated[Config, cyclopts.Parameter(name="*", consume_multiple=True)] = Config()) -> int:
    """Compare the zoo with torchvision; 1 where a limit is missed."""
    results = run(config)
    write_whole(config.results, json.dumps(results, indent=1) + "\n")
    replace_between(config.document, BEGIN, END, parity_tables.document(results, results["records"]))
    lines = [*parity_tables.count_lines(results["records"]), "", *parity_tables.step_lines(results["records"])]
    print("\n".join(["", *lines, "", f"figures in {config.results}, tables in {config.document}"]), flush=True)
    if missed := parity_tables.missed(results["records"]):
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


def run(config: Config, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Compare the chosen networks, each in a fresh process, which gives its memory back."""
    with tempfile.TemporaryDirectory(prefix="zoo-parity-") as folder:
        variables = environment()
        process = Process("parity", config.peers_python, "zoo_bench.parity_worker", variables, Path(folder))
        with closing(process):
            try:
                facts = process.ask("hello", limit=LIMIT)
            except SideError as error:
                needed = f"{config.peers_python} has to have jax231, PyTorch and torchvision, see --peers-python"
                raise SystemExit(f"zoo_parity: {needed}: {error}") from None
            records = _kept(config, facts)
            for name in config.names:
                records[name] = record = {}
                for part in ("counts", "logits", "step") if PEERS[name].step else ("counts", "logits"):
                    try:
                        record[part] = process.ask(part, name, limit=LIMIT)
                    except SideError as error:
                        record[part] = {"agrees": False, "failed": str(error)}
                    say(f"{name:12} {part:7} {parity_tables.progress(part, record[part])}")
                process.close()
    facts["command"] = as_called("zoo_parity")
    return {**facts, "records": {name: records[name] for name in PEERS if name in records}}


def _kept(config: Config, facts: dict[str, Any]) -> dict[str, Any]:
    """Records of an earlier run with these versions."""
    earlier = json.loads(config.results.read_text()) if config.results.exists() else {}
    return earlier["records"] if earlier.get("versions") == facts["versions"] else {}


if __name__ == "__main__":
    cyclopts.run(main)
