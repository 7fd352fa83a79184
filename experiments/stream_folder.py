"""What does it cost to train on images that stay in their files, and does a killed run end with the same bits?

    python experiments/stream_folder.py

Writes training images of CIFAR-10 as PNG files, one folder a class, and trains one epoch on them: read into memory and
streamed, in turn, each in a process of its own. A streamed run is killed (``kill -9``) in the middle of its epoch
and goes on with another number of workers; its last checkpoint is compared with that of an undisturbed run, bit
for bit. Then the stream alone, without a network, by workers: these files, and JPEG files of the size of
ImageNet's, of which random parts are resized to 224 pixels a side. Writes ``stream-folder.json``.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
import numpy as np
from kill_training import MAIN, last_state, same_bits, steps_done
from PIL import Image

from jax231.core.files import write_whole
from jax231.data import sources, stream
from jax231.data.decode import Form
from jax231.data.folders import list_folder
from jax231.measure import machine
from jax231.train import log

HERE = Path(__file__).resolve().parent
CHOICES = ["--model", "convnet", "--optimizer", "nesterov", "--rate", "0.02", "--batch", "64", "--augment", "flip"]
MONTAGE = (12, 16)
"""Images down and across in one of 384x512 pixels."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How many files there are, how often they are read, and where the result goes."""

    images: int = 10_000
    """Training images; a tenth as many validate."""

    photographs: int = 400
    """Larger JPEG files."""

    repeats: int = 2
    """Times that each kind of training is done."""

    workers: tuple[int, ...] = (0, 1, 2, 4)
    """Numbers of threads that decode the stream alone."""

    results: Path = HERE / "results"
    """Folder of the result."""


def write_files(folder: Path, count: int, photographs: int) -> tuple[Path, Path]:
    """Two folders of images: CIFAR-10 as PNG files, and montages of it as JPEG files."""
    data = sources.load("cifar10")
    small, large = folder / "cifar", folder / "large"
    for split, examples, most in (("train", data.train, count), ("val", data.test, count // 10)):
        for i, (pixels, label) in enumerate(zip(*examples, strict=True)):
            if i == most:
                break
            path = small / split / data.classes[label] / f"{i:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    down, across = MONTAGE
    for i in range(photographs):
        chosen = data.train.images[np.arange(i, i + down * across) % len(data.train.images)]
        rows = chosen.reshape(down, across, *data.shape).swapaxes(1, 2).reshape(down * 32, across * 32, 3)
        path = large / f"{i % 2}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rows).save(path, quality=90)
    return small, large


class Trainer:
    """Starts ``jax231 train`` on a folder, in processes that keep what they compile for each other."""

    def __init__(self, place: Path, data: Path):
        self._place, self._data = place, data
        kept = {
            "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._environment = {**os.environ, **kept}

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self._place / "runs" / name

    def start(self, name: str, *flags: str) -> subprocess.Popen[str]:
        """Begin the run `name`, or go on with it."""
        choices = [*CHOICES, "--data", str(self._data), "--epochs", "1", "--runs", str(self._place / "runs")]
        how = ["--resume", str(self.run(name))] if self.run(name).exists() else [*choices, "--name", name]
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, "train", *how, *flags], env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, name: str, *flags: str) -> dict[str, Any]:
        """Train to the end: images a second within the epoch, seconds of the whole process, and what it said."""
        begin = time.monotonic()
        process = self.start(name, *flags)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        seconds = time.monotonic() - begin
        chunks = log.read(self.run(name), "chunk")
        done = sum(chunk["examples_per_second"] * chunk["seconds"] for chunk in chunks)
        rate = done / sum(chunk["seconds"] for chunk in chunks)
        return {
            "images_per_second": round(rate),
            "process_seconds": round(seconds, 1),
            "said": output.splitlines()[0].removeprefix(f"{self._data.parent}/"),
        }


def trained(trainer: Trainer, repeats: int) -> list[dict[str, Any]]:
    """Epochs from memory and streamed, in turn."""
    rows = []
    trainer.finish("compiled-m", "--stream", "never")
    trainer.finish("compiled-s", "--stream", "always")
    for i in range(repeats):
        for kind, flags in (("memory", ["--stream", "never"]), ("stream", ["--stream", "always"])):
            rows.append({"kind": kind, **trainer.finish(f"{kind}-{i}", *flags)})
            print(rows[-1], flush=True)
    return rows


def killed(trainer: Trainer) -> dict[str, Any]:
    """Kill a streamed run in the middle of its epoch, and let it go on without workers."""
    process = trainer.start("killed", "--stream", "always", "--workers", "2", "--save-seconds", "0")
    run = trainer.run("killed")
    while process.poll() is None and not any(path.name.isdigit() for path in (run / "checkpoints").glob("*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run was quicker than its killer"
    at = steps_done(run)
    trainer.finish("killed", "--workers", "0")
    whole = trainer.run("stream-0")
    return {
        "killed_after_step": at,
        "of_steps": steps_done(whole),
        "workers": [2, 0],
        "same_bits": same_bits(last_state(run), last_state(whole)),
    }


def flowing(folder: Path, form: Form, shape: tuple[int, ...], batch: int, workers: int) -> float:
    """Images a second of a training split that is read once and not used."""
    listing = list_folder(folder)
    files = stream.ImageFiles(listing, listing.train, form, shape, stream.Damage(), workers)
    source = stream.Training(files, listing.labels[listing.train], 0, batch, 1)
    source[0]
    begin = time.perf_counter()
    batches = stream.flow(source, 0, workers)
    count = sum(len(batch.targets) for batch in batches)
    seconds = time.perf_counter() - begin
    batches.close()
    return count / seconds


def alone(small: Path, large: Path, config: Config) -> list[dict[str, Any]]:
    """The stream without a network."""
    rows = []
    for name, folder, form, shape, batch in (
        ("32x32 PNG", small, Form(), (32, 32, 3), 64),
        ("384x512 JPEG, random parts at 224x224", large, Form((224, 224), 3, "random"), (224, 224, 3), 16),
    ):
        for workers in config.workers:
            rates = [flowing(folder, form, shape, batch, workers) for _ in range(config.repeats)]
            rows.append({"files": name, "workers": workers, "images_per_second": [round(rate) for rate in rates]})
            print(rows[-1], flush=True)
    return rows


def main(config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    """Run everything and write the result."""
    with tempfile.TemporaryDirectory() as place:
        small, large = write_files(Path(place), config.images, config.photographs)
        trainer = Trainer(Path(place), small)
        rows, flow = trained(trainer, config.repeats), alone(small, large, config)
        kill = killed(trainer)
        print(kill, flush=True)
    content = {
        "command": "python experiments/stream_folder.py",
        "config": {name: value for name, value in asdict(config).items() if name != "results"},
        "training": " ".join(["jax231", "train", *CHOICES, "--epochs", "1"]),
        "trained": rows,
        "kill_9": kill,
        "stream_alone": flow,
        "device": machine.device(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "versions": machine.versions(),
    }
    config.results.mkdir(parents=True, exist_ok=True)
    write_whole(config.results / "stream-folder.json", msgspec.json.format(msgspec.json.encode(content)))


if __name__ == "__main__":
    cyclopts.run(main)
