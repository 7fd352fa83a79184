"""The comparison with torchvision: its bookkeeping, and its networks where PyTorch is there."""

import json
from typing import get_args

import numpy as np
import pytest
import zoo_parity
from side_process import SideError
from zoo_bench import parity_tables
from zoo_bench.differences import relative, worst
from zoo_bench.inputs import inputs
from zoo_bench.shared import PEERS, Name

from jax231.models import zoo

COUNTS = {"parameters": 12, "torch_parameters": 12, "macs": 2_000_000_000, "agrees": True}
LOGITS = {"difference": 1e-6, "relative": 1e-7, "largest": 3.0, "agrees": True}
PARTS = {"loss": 0.0, "gradients": 1e-3, "weights": 1e-5}
STEP = {
    "float32": PARTS, "float64": dict.fromkeys(PARTS, 1e-14), "rounding": {"jax231": 1e-3, "torch": 2e-3},
    "agrees": True,
}  # fmt: skip


class Parity:
    """A process that has compared all but the scores of ResNet-34, and fails at those of ResNet-50."""

    def __init__(self, *_):
        self.closed = 0

    def ask(self, part, name=None, *, limit):
        assert limit > 0
        if part == "hello":
            return {"versions": {"torch": "2"}, "device": {}}
        if (part, name) == ("logits", "resnet50"):
            raise SideError("no memory")
        answer = {"counts": COUNTS, "logits": LOGITS, "step": STEP}[part]
        return {**answer, "agrees": (part, name) != ("logits", "resnet34")}

    def close(self):
        self.closed += 1


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Files of its own, and a process that is none."""
    (tmp_path / "README.md").write_text(f"before\n{zoo_parity.BEGIN}\nreplaced\n{zoo_parity.END}\nafter\n")
    monkeypatch.setattr(zoo_parity, "Process", Parity)
    monkeypatch.setattr("sys.argv", ["zoo_parity.py", "--peers-python", "/somewhere"])
    return lambda *names: zoo_parity.Config(
        names=names, results=tmp_path / "parity.json", document=tmp_path / "README.md"
    )


def test_networks_that_agree(config, capsys):
    assert zoo_parity.main(config("resnet18", "alexnet")) == 0
    text = config().document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "replaced" not in text
    assert "--peers-python PATH" in text
    assert text.count("\n| resnet18 |") == 3  # counts, and a step in two precisions
    assert "**" not in text
    assert "agrees: 12 parameters, 2.000 G MACs" in capsys.readouterr().out


def test_what_is_missed_is_bold_and_an_error(config, capsys):
    assert zoo_parity.main(config("resnet34", "resnet50")) == 1
    assert "missed: resnet34, logits; resnet50, logits" in capsys.readouterr().err
    text = config().document.read_text()
    assert "| **1.0e-06** |" in text
    assert "| **resnet50** | no memory |" in text


def test_networks_that_are_not_chosen_keep_their_rows(config):
    zoo_parity.main(config("resnet18"))
    zoo_parity.main(config("alexnet"))
    results = json.loads(config().results.read_text())
    assert list(results["records"]) == ["alexnet", "resnet18"]
    results["versions"] = {"torch": "1"}
    config().results.write_text(json.dumps(results))
    assert list(zoo_parity.run(config("alexnet"))["records"]) == ["alexnet"]


def test_a_step_without_statistics_has_a_dash():
    _, _, single, double = parity_tables.step_lines({"lstm": {"step": STEP}})
    assert single == "| lstm | float32 | 0.0e+00 | 1.0e-03 | - | 1.0e-05 | 1.0e-03; 2.0e-03 |"
    assert double == "| lstm | float64 | 1.0e-14 | 1.0e-14 | - | 1.0e-14 |  |"


def test_an_interpreter_without_the_peers_is_named(config, monkeypatch):
    def ask(self, part, **_):
        raise SideError("PackageNotFoundError: torchvision")

    monkeypatch.setattr(Parity, "ask", ask)
    with pytest.raises(SystemExit, match=r"has to have jax231, PyTorch and torchvision.*PackageNotFoundError"):
        zoo_parity.run(config("alexnet"))


def test_names_are_those_of_the_zoo():
    assert get_args(Name) == tuple(PEERS)
    assert set(PEERS) <= set(zoo.NAMES)
    with pytest.raises(ValueError, match=r"zoo_parity: expected names among .*; got names=\('lenet',\)"):
        zoo_parity.Config(names=("lenet",))


def test_differences_are_relative_in_norm():
    a, b = {"x": np.array([3.0, 0.0]), "y": np.array([4.5])}, {"x": np.array([3.0, 0.0]), "y": np.array([4.0])}
    assert relative(a, b) == pytest.approx(0.1)
    assert relative({"x": a["x"]}, {"x": b["x"]}) == 0
    assert worst(a, b) == {"name": "y", "difference": pytest.approx(0.125)}


def test_inputs():
    x, labels = inputs(2, (4, 4, 3), 5, seed=0)
    assert (x.shape, x.dtype, labels.shape) == ((2, 4, 4, 3), np.float32, (2,))
    tokens, after = inputs(2, (6,), 5, seed=0)
    np.testing.assert_array_equal(tokens[:, 1:], after[:, :-1])


@pytest.mark.parametrize("name", ["resnet20", "preact_resnet20", "densenet_bc_100_12", "char_lstm"])
def test_networks_in_plain_pytorch_have_our_names_and_shapes(name):
    torch = pytest.importorskip("torch")
    import jax
    from zoo_bench import torch_nets

    from jax231.models import pretrained

    with torch.device("meta"):
        net = torch_nets.build(name)
    entry = zoo.entry(name)
    wanted = jax.eval_shape(entry.build(entry.shape, entry.classes).init, jax.random.key(0))
    ours = pretrained.to_state_dict(name, *jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), wanted))
    theirs = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items() if tensor.ndim}
    assert {key: array.shape for key, array in ours.items()} == theirs
