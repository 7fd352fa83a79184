"""The folder of a made-up training run, and what was found in it, for the tests of its report."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jax231.measure.confusion import confusions
from jax231.measure.inspection import Alone, Example, First, Inspection, Judged, Learned, Rates, Sample, Surprise

CLASSES = ("cat", "dog", "ship")
STEPS = 4
RANDOM = np.random.default_rng(0)
TRUTH, SEEN = np.arange(12) % 3, np.array([0, 1, 2, 1, 1, 2, 1, 1, 2, 0, 2, 2])
CONFIG = """[train]
model = "lenet"
data = "pictures"
optimizer = "nesterov"
rate = 0.05
schedule = "cosine"
epochs = 3
batch = 10
decay = 0.001
"""


SPREAD = (-0.125, 0.125, 0.25)
"""By how much the scores of three members are off those of the run."""


def write_run(folder: Path, *, epochs: int = 3, classes=CLASSES, shape=(6, 6, 3), members: int = 1) -> Path:
    """A run of three epochs of which so many are done, two chunks each, with a test at its end; of members too."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG + (f"members = {members}\nseed = 4\n" if members > 1 else ""))
    known = {"data": "pictures", "shape": shape, "classes": classes, "steps": STEPS, "batch": 10, "digests": {}}
    (folder / "data.json").write_text(json.dumps(known))
    environment = {"versions": {"jax": "0.10.2"}, "device": {"platform": "cpu", "cpu": "A processor"}, "devices": 1}
    (folder / "environment.json").write_text(json.dumps(environment))
    records = []
    for epoch in range(1, epochs + 1):
        for part in (2, 4):
            step = STEPS * (epoch - 1) + part
            chunk = {"loss": 2 / step, "accuracy": 1 - 1 / step, "seconds": 0.5, "examples_per_second": 40.0 + step}
            records.append({"kind": "chunk", "step": step, "epoch": epoch, **chunk})
        scores = {"loss": 1 / epoch, "accuracy": 0.5, "validation_loss": 1.25 / epoch, "validation_accuracy": 0.4}
        records.append({"kind": "epoch", "step": STEPS * epoch, "epoch": epoch, **scores, "seconds": 1.0})
    if epochs == 3:
        records.append({"kind": "test", "step": 12, "test_loss": 0.75, "test_accuracy": 0.625})
    if members > 1:
        records = [record | _each(record, members) for record in records]
    write_records(folder, records)
    return folder


def _each(record: dict[str, Any], members: int) -> dict[str, Any]:
    scores = {name: x for name, x in record.items() if name.endswith(("loss", "accuracy"))}
    return {f"{name}_members": [x + SPREAD[i] for i in range(members)] for name, x in scores.items()}


def write_records(folder: Path, records: list[dict[str, Any]]) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def found(**changes: Any) -> Inspection:
    """Images that were judged, a first layer and rates."""
    images = RANDOM.integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    worst = tuple(
        Example(7 + i, image, np.int32(0), np.int32(1 - i), 4.5 - i, 0.875, 0.011) for i, image in enumerate(images)
    )
    judged = Judged("test", "images", 12, 0.7, float((TRUTH == SEEN).mean()), confusions(TRUTH, SEEN, 3), worst)
    first = First("conv1", "filter", RANDOM.normal(size=(3, 3, 3, 5)))
    learned = Learned("LeNet-5", "LeCun et al. 1998", 61_706, math.log(3), "best", 8, first)
    rates = Rates(np.linspace(0, 3, 13)[:-1], np.linspace(0.05, 0.0, 12))
    return Inspection(learned, judged, rates)._replace(**changes)


def found_members() -> Inspection:
    """Images that three networks were judged on."""
    whole = found()
    alone = tuple(Alone(f"seed {4 + i}", 0.8 + 0.1 * i, 0.5 + 0.125 * i) for i in range(3))
    learned = whole.learned._replace(networks=3, first=whole.learned.first._replace(member="seed 5"))
    return whole._replace(learned=learned, judged=whole.judged._replace(members=alone))


def found_masks() -> Inspection:
    """Pixels that were judged."""
    truth, seen = RANDOM.integers(0, 3, (2, 6, 6)), RANDOM.integers(0, 3, (2, 6, 6))
    image = RANDOM.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    worst = tuple(Example(i, image, truth[i], seen[i], 2.0 - i) for i in range(2))
    accuracy = float((truth == seen).mean())
    return found(judged=Judged("validation", "pixels", 2, 0.9, accuracy, confusions(truth, seen, 3), worst))


def found_text(classes: tuple[str, ...]) -> Inspection:
    """Characters that were judged."""
    k = len(classes)
    truth, seen = RANDOM.integers(0, k, 200), RANDOM.integers(0, k, 200)
    surprises = (Surprise("to be\n", 1, 2, 9.0, math.exp(-9)),)
    accuracy = float((truth == seen).mean())
    judged = Judged("validation", "characters", 200, 1.5, accuracy, confusions(truth, seen, k), (), surprises)
    learned = Learned("Character LSTM", "lecture 10", 100, math.log(k), "newest", 12, None, Sample("to <be>\nor", 0.8))
    return Inspection(learned, judged, None)
