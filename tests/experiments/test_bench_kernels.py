"""The benchmark of the kernels: its processes take turns on tiny cases, and its parts are what they say."""

import sys
from pathlib import Path
from typing import get_args

import bench_kernels
import numpy as np
import pytest
from document import replace_between
from kernel_bench import nets, tables
from kernel_bench.cases import CASES, Case, Conv, Group, Name, Neighbors, Training, chosen
from kernel_bench.costs import Cost, cost, parameters
from kernel_bench.layers import output_shape
from kernel_bench.operands import batch
from kernel_bench.record import Figure, Record, Results, read, write
from kernel_bench.targets import targets
from kernel_bench.turns import Process, SideError, difference

TINY = (
    Case("conv-16", "conv", "tiny", Conv((2, 4, 4, 3), (3, 3, 3, 4))),
    Case("knn", "neighbors", "tiny", Neighbors(20, 5, 8, 3)),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two tiny cases on two sides, and on one whose interpreter is not there."""
    folder = tmp_path_factory.mktemp("bench")
    config = bench_kernels.Config(
        sides=("plain", "xla", "faiss"), rounds=2, budget=0.0, pause=0.0,
        results=folder / "bench.json", peers_python=folder / "none",
    )  # fmt: skip
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX231_DATA", str(folder))  # random examples
        results = bench_kernels.run(TINY, config, lines.append)
    return results, lines, config


def test_every_side_is_measured_and_agrees(run):
    results, _, _ = run
    forms = [(record.case, record.form) for record in results.records]
    assert forms == [("conv-16", form) for form in ("forward", "gradient", "scan", "vmap")] + [("knn", "forward")]
    for record in results.records:
        assert list(record.sides) == ["xla", "plain"]
        assert all(figure.median > 0 and len(figure.rounds) == 2 for figure in record.sides.values())
        assert (record.sides["plain"].against, record.sides["plain"].agrees) == ("xla", True)


def test_a_missing_side_is_named_with_what_to_install(run):
    results, lines, _ = run
    assert "pip install '.[peers]'" in results.missing["faiss"]
    assert any(line.startswith("faiss is left out") for line in lines)


def test_figures_are_written_and_kept(run):
    results, _, config = run
    assert read(config.results) == results

    again = Results("", results.device, {"jax": results.versions["jax"]})
    again.take(results)
    record = Record("knn", "neighbors", "tiny", "forward", 0.0, 0.0, sides={"plain": Figure(median=1.0)})
    again.add(record)
    assert len(again.records) == len(results.records)
    assert again.median("knn", "forward", "plain") == 1.0
    assert again.median("knn", "forward", "xla") == results.median("knn", "forward", "xla")

    other = Results("", results.device, {"jax": "0"})
    other.take(results)
    assert other.records == []


def test_the_targets_use_what_was_measured(run):
    results, _, _ = run
    rows = targets(results)
    loop = results.median("conv-16", "scan", "plain") / results.median("conv-16", "gradient", "plain")
    assert rows[0].plain == pytest.approx([loop, loop])
    assert rows[0].compiled == [None, None]
    assert rows[-2].plain == [None, None]


def test_the_document_has_a_row_for_every_target_and_record(run, tmp_path):
    results, _, _ = run
    path = tmp_path / "README.md"
    path.write_text(f"before\n{bench_kernels.BEGIN}\nreplaced\n{bench_kernels.END}\nafter\n")
    replace_between(path, bench_kernels.BEGIN, bench_kernels.END, tables.document(results))
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "replaced" not in text
    assert text.count("\n| tiny |") == len(results.records)
    assert text.count("\n| ") == len(results.records) + len(targets(results)) + 2


def test_a_document_without_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match="expected each marker once"):
        replace_between(tmp_path / "README.md", "<a>", "<b>", "text")


def test_a_process_that_fails_says_why_and_starts_again(tmp_path):
    process = Process("numpy", Path(sys.executable), tmp_path)
    try:
        with pytest.raises(SideError, match="no answer within 0 s"):
            process.ask("hello", limit=0.0)
        with pytest.raises(SideError, match="expected a prepared case"):
            process.ask("time", 0.0)
        process._process.kill()
        with pytest.raises(SideError, match="ended with code -9"):
            process.ask("time", 0.0)
    finally:
        process.close()


def test_names_on_the_command_line_are_the_cases():
    assert get_args(Name) == tuple(case.name for case in CASES)
    assert set(get_args(Group)) == {case.group for case in CASES}
    assert [case.name for case in chosen(("resnet20",))] == ["peak-matmul", "peak-copy", "resnet20"]
    with pytest.raises(ValueError, match=r"bench_kernels: expected known cases; got unknown=\['nothing'\]"):
        bench_kernels.Config(cases=("nothing",))


def test_costs_of_a_convolution():
    case = Case("conv", "conv", "", Conv((2, 8, 8, 3), (3, 3, 3, 4)))
    numbers = 2 * 64 * 3 + 3 * 3 * 3 * 4 + 2 * 64 * 4
    assert cost(case, "forward") == Cost(2 * 2 * 64 * 4 * 27, 4 * numbers)
    assert cost(case, "gradient") == Cost(3 * 2 * 2 * 64 * 4 * 27, 3 * 4 * numbers)


@pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.work, Training)], ids=lambda case: case.name
)
def test_networks_have_one_score_a_class(case):
    net = case.work.net
    assert output_shape(net.layers, net.inputs)[-1] == net.classes
    assert cost(case, "gradient").flops > 0


def test_resnet20_has_the_parameters_of_the_paper_and_its_projections():
    net = nets.resnet20(2)
    body = 3 * 3 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert parameters(net) == body + norms + projections + 65 * 10
    assert batch(net).labels.shape == (2,)


def test_differences():
    x = np.ones(4)
    assert difference([x], [x]) == 0
    assert difference([x, 1.1 * x], [x, x]) == pytest.approx(0.1)
    assert difference([np.array([1, 2])], [np.array([1, 3])]) == 0.5
    assert difference([x], [x[:2]]) == float("inf")


def test_shares_of_the_peaks(tmp_path):
    results = Results("", {"cpu": "", "cores": 1, "os": ""}, {}, pace={"rounds": 1})
    results.add(Record("peak-matmul", "peak", "", "forward", 100.0, 1.0, sides={"xla": Figure(median=1.0)}))
    results.add(Record("peak-copy", "peak", "", "forward", 0.0, 10.0, sides={"xla": Figure(median=1.0)}))
    results.add(Record("conv-16", "conv", "", "forward", 50.0, 1.0, sides={"xla": Figure(median=2.0)}))
    results.rate()
    figure = results.records[-1].sides["xla"]
    assert (figure.of_flops, figure.of_bytes) == (0.25, 0.05)
    write(results, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == results
