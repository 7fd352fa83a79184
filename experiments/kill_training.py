"""Does a run that was killed at random moments end with the bits of one that was left alone?

    python experiments/kill_training.py

A small net with batch normalization, dropout and averaged parameters learns the digits, once undisturbed.
Then the same run is killed (``kill -9``) again and again and resumed each time, a checkpoint being written most of the
time; so are runs that get Ctrl-C, SIGTERM, a damaged newest checkpoint and a disk without room. The last checkpoints
are compared array by array, bit for bit, and the records of the epochs number by number. Writes ``kill-training.json``.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax
import msgspec
import numpy as np

from jax231.core.files import read_records, write_whole
from jax231.measure import machine
from jax231.train import folder as folders
from jax231.train import log, network, step
from jax231.train.checkpoint import Checkpoints
from jax231.train.state import TrainState

HERE = Path(__file__).resolve().parent
CHOICES = [
    "--model", "mlp_batch_norm", "--arguments.widths", "[32]", "--dropout", "0.2", "--data", "digits",
    "--optimizer", "nesterov", "--rate", "0.05", "--schedule", "cosine", "--decay", "1e-4", "--clip", "5",
    "--ema", "0.99", "--save-seconds", "0",
]  # fmt: skip
TIMED = ("seconds", "examples_per_second")
MINIMUM = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
MAIN = "from jax231.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class Config:
    """How often the run is killed, how long it is, and where the result goes."""

    kills: int = 50
    """Times that a process is killed at a random moment."""

    epochs: int = 60
    """Length of the run; each epoch writes a checkpoint."""

    seed: int = 0
    """Chooses the moments."""

    results: Path = HERE / "results"
    """Folder of the result."""


class Trainer:
    """Starts ``jax231 train`` in processes of their own, which keep what they compile for each other."""

    def __init__(self, folder: Path, epochs: int):
        self.folder, self.epochs = folder, epochs
        kept = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._environment = {**os.environ, **kept, "JAX_PLATFORMS": "cpu"}

    def start(self, name: str, limit: int | None = None) -> subprocess.Popen[str]:
        """Begin the run `name`, or go on with it; files cannot grow beyond `limit` bytes."""
        run = self.folder / name
        begun = (run / "config.toml").exists()
        how = ["--resume", str(run)] if begun else [*CHOICES, "--epochs", str(self.epochs), "--runs", str(self.folder)]
        words = ["train", *how, "--save-seconds", "0"] if begun else ["train", *how, "--name", name]

        def bound() -> None:
            most = resource.RLIM_INFINITY if limit is None else limit
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words], env=self._environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=bound,
        )  # fmt: skip

    def finish(self, name: str, limit: int | None = None) -> tuple[int, str]:
        """Let the run `name` go on to its end; exit code and output."""
        process = self.start(name, limit)
        output, _ = process.communicate()
        return process.returncode, output


def last_state(run: Path) -> TrainState:
    """The newest checkpoint of a run."""
    config, facts = folders.read_config(run), folders.read_facts(run)
    net = network.build(config, facts.shape, len(facts.classes))
    like = jax.eval_shape(lambda: step.begin(config, net, facts.steps, facts.batch))
    with Checkpoints(run / "checkpoints") as checkpoints:
        state = checkpoints.newest(like)
    assert state is not None, f"{run} has no checkpoint"
    return state


def same_bits(a: TrainState, b: TrainState) -> bool:
    """Whether all arrays of two states are equal, bit for bit."""
    pairs = zip(*(jax.tree.leaves(x._replace(key=jax.random.key_data(x.key))) for x in (a, b)), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def epochs(run: Path) -> list[dict[str, Any]]:
    """The records of the epochs without their times."""
    return [{name: x for name, x in record.items() if name not in TIMED} for record in log.read(run)]


def steps_done(run: Path) -> int:
    """Steps that the records of a run tell of."""
    return max((record["step"] for record in read_records(run / "metrics.jsonl")), default=0)


def moment(chance: random.Random, process: subprocess.Popen[str], run: Path) -> str:
    """Wait for a random moment: of the start of the process, or of its training; which it was."""
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0, 4))
        return "start"
    before = steps_done(run)
    while process.poll() is None and steps_done(run) == before:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.6))
    return "training"


def killed(trainer: Trainer, config: Config) -> dict[str, Any]:
    """Kill runs until it was done as often as asked, each run being resumed to its end."""
    chance, kills, ends, moments = random.Random(config.seed), 0, [], []
    whole = last_state(trainer.folder / "whole")
    while kills < config.kills:
        name = f"killed-{len(ends)}"
        run = trainer.folder / name
        while kills < config.kills:
            process = trainer.start(name)
            kind = moment(chance, process, run)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            left = [path.name for path in (run / "checkpoints").glob("*tmp*")] if run.exists() else []
            moments.append({"run": name, "when": kind, "step": steps_done(run), "half_written": len(left)})
            print(f"kill {kills}: {moments[-1]}", flush=True)
        code, output = trainer.finish(name)
        assert code == 0, output
        ends.append({"run": name, **compared(trainer, name, whole)})
        print(ends[-1], flush=True)
    return {"kills": kills, "runs": ends, "moments": moments}


def compared(trainer: Trainer, name: str, whole: TrainState) -> dict[str, bool]:
    """Whether a run ended as the undisturbed one did."""
    run, other = trainer.folder / name, trainer.folder / "whole"
    return {"same_bits": same_bits(last_state(run), whole), "same_records": epochs(run) == epochs(other)}


def interrupted(trainer: Trainer, name: str, kind: signal.Signals) -> dict[str, Any]:
    """Send a signal in the middle of training, then resume."""
    process = trainer.start(name)
    while process.poll() is None and steps_done(trainer.folder / name) < 50:
        time.sleep(0.01)
    process.send_signal(kind)
    output, _ = process.communicate()
    said = [line for line in output.splitlines() if "Go on with" in line]
    return {"exit_code": process.returncode, "said": bool(said), "step": steps_done(trainer.folder / name)}


def damaged(trainer: Trainer, name: str) -> dict[str, Any]:
    """Kill a run, turn a byte in the newest checkpoint's largest file of arrays around, then resume."""
    interrupted(trainer, name, signal.SIGTERM)
    steps = trainer.folder / name / "checkpoints"
    newest = max((path for path in steps.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    arrays = [path for path in newest.rglob("d/*") if path.is_file()]
    path = max(arrays, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    return {"damaged_step": int(newest.name)}


def full(trainer: Trainer, name: str) -> dict[str, Any]:
    """Stop a run, go on where no file can grow beyond a few kilobytes, then with room again."""
    interrupted(trainer, name, signal.SIGTERM)
    code, output = trainer.finish(name, limit=2000)
    said = [line for line in output.splitlines() if "could not be written" in line]
    return {"exit_code": code, "said": bool(said), "last_line": output.strip().splitlines()[-1].partition(": ")[2]}


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Run all trials and write the result."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        trainer = Trainer(Path(place), config.epochs)
        code, output = trainer.finish("whole")
        assert code == 0, output
        whole = last_state(Path(place) / "whole")
        trials: dict[str, Callable[[str], dict[str, Any]]] = {
            "ctrl_c": lambda name: interrupted(trainer, name, signal.SIGINT),
            "sigterm": lambda name: interrupted(trainer, name, signal.SIGTERM),
            "damaged_newest_checkpoint": lambda name: damaged(trainer, name),
            "full_disk": lambda name: full(trainer, name),
        }
        found: dict[str, Any] = {}
        for name, trial in trials.items():
            found[name] = trial(name)
            code, output = trainer.finish(name)
            assert code == 0, output
            if name == "damaged_newest_checkpoint":
                found[name]["said"] = "is damaged" in output
            found[name] |= compared(trainer, name, whole)
            print(name, found[name], flush=True)
        found["kill_9"] = killed(trainer, config)
    verdict = all(trial["same_bits"] and trial["same_records"] for name, trial in found.items() if name != "kill_9")
    verdict = verdict and all(run["same_bits"] and run["same_records"] for run in found["kill_9"]["runs"])
    print("all the same bits" if verdict else "THE BITS DIFFER")
    content = {
        "command": "python experiments/kill_training.py",
        "config": {name: value for name, value in asdict(config).items() if name != "results"},
        "training": " ".join(["jax231", "train", *CHOICES]),
        "all_same": verdict,
        "seconds": round(time.monotonic() - begin),
        "trials": found,
        "device": machine.device(),
        "versions": machine.versions(),
    }
    config.results.mkdir(parents=True, exist_ok=True)
    write_whole(config.results / "kill-training.json", msgspec.json.format(msgspec.json.encode(content)))
    shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    cyclopts.run(main)
