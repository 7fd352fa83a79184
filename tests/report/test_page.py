import json
import re
import shutil
import subprocess
import sys

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from jax231.report.assemble import TEMPLATES
from jax231.report.page import write_report
from tests.report.study import OPTIMIZERS, PROBLEMS, write_records, write_study

HOSTILE = "</script><script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def library():
    """The plotting library, cut out of pages before they are looked at."""
    return get_plotlyjs().replace("</script", "<\\/script")


@pytest.fixture
def report(tmp_path, library):
    """Write a study, make its report, and return the page without the library."""

    def make(**choices):
        folder = write_study(tmp_path / "digits", **choices)
        path = write_report(folder)
        assert path == folder / "report.html"
        text = path.read_text()
        assert text.count(library) == 1
        return text.replace(library, "")

    return make


def figures(text):
    pattern = r'<script type="application/json">(.*?)</script>'
    return [json.loads(found) for found in re.findall(pattern, text, flags=re.DOTALL)]


def test_report_holds_everything_and_needs_nothing_from_outside(report):
    text = report(fail=(("svm", "rmsprop"),))
    for title, *_ in (*PROBLEMS.values(), *OPTIMIZERS.values()):
        assert title in text
    assert not re.search(r"https?://|<link|<img|<iframe|@import|url\(", text)
    assert not re.search(r"\ssrc=", text)
    assert set(re.findall(r'href="([^"]*)"', text)) == {
        "#result", "#method", "#machine", "#1-softmax", "#2-svm", "#3-mlp", "#4-convnet",
    }  # fmt: skip
    for target in re.findall(r'(?:href="#|aria-labelledby=")([^"]*)"', text):
        assert text.count(f'id="{target}"') == 1
    assert "This study is not complete" not in text
    assert "does not apply" in text
    assert "⚠ high edge" in text
    assert "3 of 114 final runs diverged" in text
    assert "L\N{NON-BREAKING HYPHEN}BFGS reaches the 1 % target for the least cost" in text
    assert text.count("<caption") == text.count("<table") == text.count("</table>")


def test_every_figure_is_valid_and_there_for_every_optimizer(report):
    found = figures(report())
    assert len(found) == 4 * (3 + 2)
    for figure in found:
        go.Figure(figure)  # refuses names and values that plotly does not know
    drawn = {trace["meta"]["optimizer"] for trace in found[0]["data"]}
    assert drawn == set(OPTIMIZERS)
    for trace in found[0]["data"]:
        if trace["meta"]["part"] == "median":
            second = OPTIMIZERS[trace["meta"]["optimizer"]][1] == 2
            assert (trace["line"]["dash"] != "solid") == second


def test_names_are_text_wherever_they_appear(report):
    text = report(problems=("mlp",), optimizers=("sgd", "lbfgs"), titles={"sgd": HOSTILE, "mlp": HOSTILE})
    assert "<script>alert" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert len(figures(text)) == 5


@pytest.mark.parametrize("left", [0, 1, 4])
def test_an_interrupted_study_shows_what_is_there(tmp_path, left):
    folder = write_study(tmp_path / "cut", problems=("softmax", "mlp"), optimizers=("sgd", "lbfgs"))
    records = (folder / "runs.jsonl").read_text().splitlines(keepends=True)
    (folder / "runs.jsonl").write_text("".join(records[:left]))
    text = write_report(folder).read_text()
    assert "This study is not complete" in text
    assert "L-BFGS on Two-layer net, tanh: 0 of 3 final runs" in text
    assert "No final run is there yet." in text


def test_before_the_sweep_there_is_a_page_too(tmp_path):
    folder = write_study(tmp_path / "new", problems=("softmax",))
    (folder / "runs.jsonl").unlink()
    (folder / "sweep.jsonl").unlink()
    text = write_report(folder).read_text()
    assert "No final run is there yet." in text
    assert figures(text) == []


def test_an_optimizer_that_always_diverges_is_shown_as_that(report):
    text = report(problems=("softmax",), optimizers=("sgd", "adam"), fail=(("softmax", "sgd"),))
    assert 'class="diverged"' in text
    crosses = [t for t in figures(text)[0]["data"] if t["meta"] == {"optimizer": "sgd", "part": "diverged"}]
    assert len(crosses[0]["x"]) == 3


def test_when_everything_diverged(report):
    text = report(problems=("softmax",), optimizers=("sgd",), fail=(("softmax", "sgd"),))
    assert "Every optimizer failed" in text
    assert "No optimizer has reached the 1 % target on any problem." in text


def test_without_one_finite_loss_nothing_is_drawn(tmp_path):
    folder = write_study(tmp_path / "nan", problems=("softmax",), optimizers=("sgd",), fail=(("softmax", "sgd"),))
    for name, fields in (("runs.jsonl", ["loss"]), ("sweep.jsonl", ["start", "final", "best"])):
        records = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for record in records:
            record |= {key: [None] * len(record["steps"]) if key == "loss" else None for key in fields}
        write_records(folder / name, records)
    text = write_report(folder).read_text()
    assert "No loss of this problem is finite" in text
    assert figures(text) == []


def test_a_single_optimizer(report):
    text = report(problems=("softmax",), optimizers=("adam",))
    assert "Only Adam was run; it reaches the 1 % target for" in text
    assert "Second order" not in text


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    folder = write_study(tmp_path / "digits", problems=("softmax",), optimizers=("sgd",))
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    message = r"jax231 report: expected the report extra; pip install '\.\[report\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_templates_lie_in_the_package():
    own = {"report.html.j2", "report.css", "report.js", "plots.js"}
    assert {file.name for file in TEMPLATES.iterdir()} == own | {"training.html.j2", "training.css", "training.js"}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_figures_are_drawn_in_a_browser(tmp_path):
    path = write_report(write_study(tmp_path / "digits", problems=("softmax",), fail=(("softmax", "sgd"),)))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    flags += " --disable-component-update --virtual-time-budget=15000"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = ["chromium", *flags.split(), profile, "--dump-dom", path.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    body = drawn[drawn.index("<main>") : drawn.index("</main>")]
    assert len(re.findall(r'class="plot js-plotly-plot"', body)) == 5
    assert body.count('class="main-svg"') >= 5
