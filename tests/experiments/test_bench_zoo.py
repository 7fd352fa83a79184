"""The benchmark of the networks: its bookkeeping, and our side on a small network; how fast it is is not tested."""

from typing import get_args

import bench_zoo
import jax
import numpy as np
import pytest
from kernel_bench.record import Figure, Record, Results, read
from zoo_bench import bench_tables, exchange, jax_side
from zoo_bench.bench_cases import CASES, FORMS, Case, Name
from zoo_bench.weights import drawn

from jax231.models import pretrained, zoo

TINY = Case("resnet20", 2, (8, 8, 3), 4)
SECONDS = {"jax231": 0.5, "torch": 1.0}


class Side:
    """A process that takes as long as is said above."""

    def __init__(self, side, *_):
        self.side = side

    def ask(self, name, *_, limit=0.0):
        match name:
            case "hello" if self.side == "jax231":
                return {"device": {"cpu": "cpu", "cores": 2, "os": "os"}, "versions": {"jax": "0"}, "revision": "abc"}
            case "hello":
                return {"versions": {"torch": "2"}}
            case "prepare":
                facts = {"first": 1.0, "compile": 3.0 if self.side == "jax231" else None, "kernels": []}
                return {**facts, "outputs": [np.ones(2)]}
            case "time":
                return SECONDS[self.side], 1

    def close(self):
        pass


def test_a_run_is_written_and_shown(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{bench_zoo.BEGIN}\nreplaced\n{bench_zoo.END}\nafter\n")
    monkeypatch.setattr(bench_zoo, "Process", Side)
    monkeypatch.setattr(bench_zoo, "blank", lambda case, form: Record(case.name, "", case.name, form, 4e9, 0.0))
    monkeypatch.setattr("sys.argv", ["bench_zoo.py"])
    config = bench_zoo.Config(
        names=("resnet20",), rounds=2, pause=0.0, results=tmp_path / "bench.json", document=tmp_path / "README.md"
    )
    results = bench_zoo.main(config)
    assert read(config.results) == results
    assert [(record.case, record.form) for record in results.records] == [("resnet20", form) for form in FORMS]
    for record in results.records:
        assert {side: figure.median for side, figure in record.sides.items()} == SECONDS
        assert record.sides["torch"].agrees
        assert record.sides["jax231"].revision == "abc"
    text = config.document.read_text()
    assert "replaced" not in text
    assert "| resnet20 | step | 500 (0%) | 1e+03 (0%) | 0.50 | 8 | 3 |" in text


def test_means_above_the_target_are_bold_and_the_worst_are_named():
    results = Results("", {"cpu": "", "cores": 1, "os": ""}, {}, pace={"rounds": 1})
    for name, form, seconds in (("a", "forward", 1.0), ("b", "forward", 4.0), ("c", "step", 0.5), ("d", "step", None)):
        sides = {"jax231": Figure(median=seconds), "torch": Figure(median=1.0)}
        results.add(Record(name, "", name.upper(), form, 1e9, 0.0, sides=sides))
    forward, step = bench_tables.rows(results)
    assert (forward.mean, forward.worst) == (pytest.approx(2.0), 4.0)
    assert (step.mean, step.worst) == (0.5, 0.5)
    text = bench_tables.document(results)
    assert "| forward, evaluation / PyTorch, 2 networks | **2.00** | 1.00 | 4.00 |" in text
    assert "Slowest against PyTorch: B, forward (4.00); A, forward (1.00); C, step (0.50)." in text
    assert "| D | step | - |" in text


def test_names_are_those_of_the_zoo():
    assert get_args(Name) == tuple(CASES)
    assert set(CASES) <= set(zoo.NAMES)
    assert CASES["densenet121"][1:] == (8, (224, 224, 3), 1000)
    assert CASES["resnet20"][1:] == (32, (32, 32, 3), 10)
    with pytest.raises(ValueError, match=r"bench_zoo: expected names among .*; got names=\('lenet',\)"):
        bench_zoo.Config(names=("lenet",))
    with pytest.raises(ValueError, match="at least one round"):
        bench_zoo.Config(rounds=0)


def test_a_step_costs_three_forward_passes():
    forward, step = (bench_zoo.blank(CASES["resnet20"], form) for form in FORMS)
    assert forward.flops == 2 * 32 * 40_551_040
    assert step.flops == 3 * forward.flops


def test_default_rates_by_kind():
    def rates(name: str, shape: tuple[int, int, int]) -> dict[str, jax.Array]:
        return jax_side.default_rates(zoo.entry(name).constructor(shape, 10))

    assert rates("alexnet", (63, 63, 3)) == {"dropout": 0.5}
    assert rates("resnet20", (32, 32, 3)) == {}


@pytest.fixture
def small(monkeypatch):
    """ResNet-20 of one stage, everywhere."""
    entry = zoo.entry("resnet20")._replace(arguments={"stages": (1,), "width": 4})
    monkeypatch.setattr(zoo, "entry", lambda name: entry)


def test_our_side_leaves_its_weights_and_trains(small, tmp_path):
    job = jax_side.build("jax231", TINY, "step", tmp_path)
    weights = exchange.read(tmp_path, "resnet20")
    loss, norms = job.read(job.call())
    assert norms.shape == (len(weights),)
    for _ in range(20):
        after, _ = job.call()
    assert after < loss

    model = zoo.entry("resnet20").build(TINY.shape, TINY.classes)
    expected = pretrained.load("resnet20", weights, shape=TINY.shape, classes=TINY.classes)
    jax.tree.map(np.testing.assert_array_equal, drawn(model), expected)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("preact_resnet20", {"stages": (1, 1), "width": 4}, ["layer2.0.bn1.running_mean", "bn.weight", "fc.bias"]),
        ("densenet_bc_100_12", {"blocks": (1, 1), "growth": 2},
         ["features.conv0.weight", "features.denseblock2.denselayer1.norm1.weight", "classifier.weight"]),
    ],
)  # fmt: skip
def test_networks_for_small_images_are_named_like_torchvisions(name, arguments, expected):
    params, state = drawn(zoo.entry(name).build((8, 8, 3), 3, **arguments))
    weights = pretrained.to_state_dict(name, params, state)
    assert set(expected) <= set(weights)
    again = pretrained.load(name, weights, shape=(8, 8, 3), classes=3, **arguments)
    jax.tree.map(np.testing.assert_array_equal, again, (params, state))


def test_norms_are_in_the_order_of_names():
    np.testing.assert_allclose(exchange.norms({"b": np.array([3.0, 4.0]), "a": np.ones((2, 2))}), [2.0, 5.0])
