"""The benchmark of training: its bookkeeping, and what it hands to the other side; how fast it is is not tested."""

import bench_training
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_bench.record import Figure, Record, Results, read
from training_bench import jax_side, training_tables
from training_bench.training_cases import AGREE, CASES

from jax231.core.types import Batch
from jax231.data import preprocess
from jax231.train import step
from jax231.train.config import Config
from jax231.train.feed import preprocessed
from jax231.train.splits import Splits

SECONDS = {"jax231": 1.0, "torch": 1.5, "torch_compile": 0.8}


class Side:
    """A process that takes as long as is said above for a chunk."""

    def __init__(self, side, *_):
        self.side = side

    def ask(self, name, *_, limit=0.0):
        match name:
            case "hello" if self.side == "jax231":
                return {"device": {"cpu": "cpu", "cores": 2, "os": "os"}, "versions": {"jax": "0"}, "revision": "abc"}
            case "hello":
                return {"versions": {"torch": "2"}}
            case "prepare":
                return {"first": 0.1, "compile": 3.0, "kernels": [], "outputs": [np.ones(2)]}
            case "time":
                return SECONDS[self.side], 1

    def close(self):
        pass


def test_a_run_is_written_and_shown(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{bench_training.BEGIN}\nreplaced\n{bench_training.END}\nafter\n")
    monkeypatch.setattr(bench_training, "Process", Side)
    monkeypatch.setattr("sys.argv", ["bench_training.py"])
    config = bench_training.Config(
        names=("lenet",), rounds=3, pause=0.0, results=tmp_path / "bench.json", document=tmp_path / "README.md"
    )
    results = bench_training.main(config)
    assert read(config.results) == results
    (record,) = results.records
    assert record.sides["torch"].agrees
    text = config.document.read_text()
    assert "replaced" not in text
    assert "| 38,400 images/s (0%) | 25,600 images/s (0%) | 1.50 (1.50..1.50) |" in text
    assert "| 0.80 (0.80..0.80) | 3; 3 |" in text


def test_a_ratio_below_the_target_is_bold_and_what_is_missing_is_named():
    record = Record("lenet", "", "LeNet", "training", 0.0, 0.0, sides={
        "jax231": Figure(median=0.01, rounds=[0.01, 0.01]), "torch": Figure(median=0.0106, rounds=[0.01, 0.0112]),
        "torch_compile": Figure(missing="no compiler"),
    })  # fmt: skip
    results = Results("", {"cpu": "", "cores": 1, "os": ""}, {}, pace={"rounds": 2}, records=[record])
    text = training_tables.document(results)
    assert "| **1.06** (1.03..1.09) | - | - | -; - |" in text
    assert "Left out: LeNet, torch_compile: no compiler." in text


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"names among lenet, resnet20, char_lstm; got names=\('vgg',\)"):
        bench_training.Config(names=("vgg",))
    with pytest.raises(ValueError, match="the first with them"):
        bench_training.Config(sides=("torch",))
    assert set(CASES) == {"lenet", "resnet20", "char_lstm"}


def test_the_crops_that_are_handed_over_are_those_of_the_feed():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3)).astype(np.uint8)
    part = Batch(pixels, np.zeros(12, np.int32))
    stats = preprocess.fit("per_channel", pixels)
    found = Splits("made", part, None, None, (16, 16, 3), ("a", "b"), stats, {})
    config = Config(model="softmax", data="made", batch=6, augment=("flip", "pad_crop"))
    task = step.assemble(config, found)
    begun = step.begin(config, task.network, task.feed.steps, task.feed.batch)
    drawn = jax_side.crops(task, begun, found)
    assert drawn.shape == (AGREE, 6, 3)
    raw = Batch(jnp.asarray(pixels[:6]), jnp.zeros(6, jnp.int32))
    for i, crops in enumerate(drawn):
        seen, _ = step.dressed(task, begun._replace(step=jnp.int32(i)), raw)
        turned = [image[:, ::-1] if turn else image for image, turn in zip(pixels, crops[:, 0], strict=False)]
        wide = np.pad(turned, ((0, 0), (2, 2), (2, 2), (0, 0)))
        cut = [x[row : row + 16, column : column + 16] for x, (_, row, column) in zip(wide, crops, strict=True)]
        np.testing.assert_array_equal(seen.inputs, preprocessed(stats)(jnp.asarray(np.stack(cut))))
        torch_side_agrees(pixels[:6], crops, np.stack(cut))


def torch_side_agrees(pixels, crops, expected):
    """The same by the other side's augmentation, where PyTorch is installed."""
    try:
        import torch
    except ImportError:
        return
    from training_bench.torch_side import augmented

    np.testing.assert_array_equal(augmented(torch.from_numpy(pixels), torch.from_numpy(crops)).numpy(), expected)
