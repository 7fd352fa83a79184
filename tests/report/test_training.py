"""The page and the picture of a training run, by its files alone."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from jax231.report.png import SIGNATURE
from jax231.report.training.page import write_training_report
from jax231.report.training.picture import write_training_picture
from jax231.report.training.read import kind, read_training
from tests.report.study import write_study
from tests.report.training_run import (
    CLASSES,
    SEEN,
    SPREAD,
    TRUTH,
    found,
    found_masks,
    found_members,
    found_text,
    write_records,
    write_run,
)  # fmt: skip

HOSTILE = "</script><script>alert(1)</script>&\"'"
LETTERS = ("\n", " ", *"abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="module")
def library():
    """The plotting library, cut out of pages before they are looked at."""
    return get_plotlyjs().replace("</script", "<\\/script")


@pytest.fixture
def page(tmp_path, library):
    """Write a run, make its report, and return the page without the library."""

    def make(inspection, name="run", **choices):
        folder = write_run(tmp_path / name, **choices)
        text = write_training_report(folder, inspection).read_text()
        assert text.count(library) == 1
        return text.replace(library, "").replace("\N{NO-BREAK SPACE}", " ")

    return make


def figures(text):
    pattern = r'<script type="application/json">(.*?)</script>'
    return [json.loads(figure) for figure in re.findall(pattern, text, flags=re.DOTALL)]


def table(text, name):
    """The cells of a table by rows, its heads first."""
    body = re.search(rf'<table class="{name}">(.*?)</table>', text, flags=re.DOTALL)[1]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, flags=re.DOTALL)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_everything_is_there_and_nothing_from_outside(page):
    text = page(found())
    for words in ("LeNet-5", "61,706", "weight decay", "images 6×6×3, 3 classes", "3 epochs of 4 steps of 10 images",
                  "A processor", "0.10.2", "First-layer filters", "conv1/kernel",
                  "test, last checkpoint (step 12, epoch 3)", "test, best checkpoint (step 8, epoch 2)"):  # fmt: skip
        assert words in text
    at = "by the best checkpoint (step 8, epoch 2)"
    assert f"Test accuracy 75.00 %, 3 of 12 images wrong, {at}, after 3 epochs and 3.0 s of training." in text
    assert not re.search(r"https?://|<link|<iframe|@import|url\(", text)
    assert set(re.findall(r'\ssrc="([^,"]*)', text)) == {"data:image/png;base64"}
    for target in re.findall(r'(?:href="#|aria-labelledby=")([^"]*)"', text):
        assert text.count(f'id="{target}"') == 1
    assert "Not all is here" not in text


def test_the_confusions_are_those_of_a_loop(page):
    text = page(found())
    heads, *rows = table(text, "confusion")
    assert heads == ["True", *CLASSES]
    for label, row in enumerate(rows):
        counts = [sum((t, s) == (label, other) for t, s in zip(TRUTH, SEEN, strict=True)) for other in range(3)]
        assert row == [CLASSES[label], *(str(n) if n or label == k else "·" for k, n in enumerate(counts))]
    for label, row in enumerate(table(text, "classes")[1:]):
        right = sum((t, s) == (label, label) for t, s in zip(TRUTH, SEEN, strict=True))
        recall, precision = right / sum(label == TRUTH), right / sum(label == SEEN)
        assert row[3:] == [f"{100 * recall:.2f} %", f"{100 * precision:.2f} %"]
    assert "<li>cat taken for dog: 2 images, 50.00 % of all cat</li>" in text
    assert text.count("taken for dog") == 1 + 1  # in the list and under the worst example
    assert '<p><b>cat</b> 1.1 %</p>\n<p class="wrong">taken for dog 87.5 %</p>\n<p>loss 4.5 · #7</p>' in text


def test_the_curves_are_what_was_recorded(page):
    loss, accuracy, rate = figures(page(found()))
    for figure in (loss, accuracy, rate):
        go.Figure(figure)  # refuses names and values that plotly does not know
    chunks, training, validation, test = loss["data"]
    assert chunks["x"] == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert chunks["y"][:2] == [1, 0.5]
    assert (training["x"], training["y"]) == ([0.5, 1.5, 2.5], [1, 0.5, 0.333333])
    assert (validation["x"], validation["y"]) == ([1, 2, 3], [1.25, 0.625, 0.416667])
    assert (test["x"], test["y"], test["mode"]) == ([3], [0.75], "markers")
    assert rate["data"][0]["y"][0] == 0.05


def test_the_curves_of_members_are_each_and_their_mean_and_all_together(page):
    loss, _, _ = figures(page(found_members(), members=3))
    go.Figure(loss)
    lines = [(line["meta"]["series"], line["line"]["dash"], line["line"]["width"]) for line in loss["data"]]
    thin, bold = [("solid", 1)] * 3, ("solid", 2)
    expected = [("training", *look) for look in (*thin, bold)]
    expected += [("validation", *look) for look in (*thin, bold, ("dash", 2))]
    assert lines == [*expected, *(("test", *look) for look in (*thin, bold))]
    *each, mean = loss["data"][:4]
    assert [line["y"] for line in each] == [[1 + x, 0.5 + x, 0.333333 + x] for x in SPREAD]
    assert mean["y"] == [1, 0.5, 0.333333]  # of training what was recorded is the mean
    *each, mean, together = loss["data"][4:9]
    assert [line["y"][0] for line in each] == [1.25 + x for x in SPREAD]
    assert mean["y"][0] == float(f"{1.25 + np.mean(SPREAD):.6g}")
    assert together["y"] == [1.25, 0.625, 0.416667]
    assert "validation loss, seed 5<" in each[1]["hovertemplate"]
    assert [line["y"] for line in loss["data"][9:]] == [[0.75 + x] for x in (*SPREAD, 0)]
    assert {line["mode"] for line in loss["data"][9:]} == {"markers"}


def test_members_stand_in_a_table_with_what_they_gain(page):
    text = page(found_members(), members=3)
    heads, *rows = table(text, "members")
    assert heads == ["Network", "loss", "accuracy"]
    assert rows[:3] == [["seed 4", "0.8", "50.00 %"], ["seed 5", "0.9", "62.50 %"], ["seed 6", "1", "75.00 %"]]
    assert rows[3:5] == [["mean of them", "0.9", "62.50 %"], ["together", "0.7", "75.00 %"]]
    assert rows[5] == ["together against the mean", "-0.2", "+12.50 points"]
    at = "by the best checkpoint (step 8, epoch 2), after 3 epochs"
    assert f"3 networks together: test accuracy 75.00 %, 3 of 12 images wrong, {at}" in text
    assert "61,706 in each of 3 networks" in text
    assert "3, of the seeds 4 to 6" in text
    assert "of the network of seed 5" in text
    assert "test, last checkpoint (step 12, epoch 3), all together" in text
    assert "dashed lines" in text
    assert "Alone and together" not in page(found(), name="one")


def test_a_run_of_members_that_is_not_finished_has_curves(page):
    text = page(found(learned=None, judged=None, rates=None), epochs=1, members=2)
    modes = [line["mode"] for line in figures(text)[0]["data"]]  # one point each, which a line would not show
    assert modes == ["markers", "markers", "lines+markers", "markers", "markers", "lines+markers", "lines+markers"]
    assert "Alone and together" not in text


def test_the_pictures_are_images(page):
    text = page(found())
    pictures = [base64.b64decode(content) for content in re.findall(r"base64,([^\"]*)", text)]
    assert len(pictures) == 2 + 5
    assert all(picture.startswith(SIGNATURE) for picture in pictures)


def test_masks_are_shown_beside_what_was_predicted(page):
    inspection = found_masks()
    text = page(inspection)
    assert f"Validation mean IoU {100 * inspection.judged.mean_iou:.2f} %" in text
    assert len(re.findall(r"base64,", text)) == 2 * 3 + 5
    assert table(text, "classes")[0][3] == "IoU"
    both = np.diagonal(inspection.judged.confusion)
    union = inspection.judged.confusion.sum(0) + inspection.judged.confusion.sum(1) - both
    assert [row[3] for row in table(text, "classes")[1:]] == [f"{100 * x:.2f} %" for x in both / union]


def test_a_text_is_reported_in_its_own_terms(page):
    text = page(found_text(LETTERS), classes=LETTERS, shape=(6,))
    assert "Validation loss 1.5 nats a character (2.16 bits, perplexity 4.48)" in text
    assert "to &lt;be&gt;\nor" in text
    assert "end of line" in text
    assert "<td>“a”</td>" in text or "<td>space</td>" in text
    *_, heat = figures(text)
    go.Figure(heat)
    assert heat["layout"]["xaxis"]["ticktext"][:3] == ["↵", "␣", "a"]
    assert np.array(heat["data"][0]["customdata"]).sum() == 200
    heads, *rows = table(text, "scores")
    assert heads == ["Split", "loss", "bits a character", "perplexity", "accuracy"]
    assert rows[1][1:3] == ["0.4167", "0.601"]


def test_names_are_text_wherever_they_appear(page):
    text = page(found(), classes=(HOSTILE, "dog", "ship"))
    assert "<script>alert" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert len(figures(text)) == 3


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_is_not_finished_says_so(page, epochs):
    text = page(found(judged=None, notes=("Nothing is shown of it.",)), epochs=epochs)
    assert f"This run is not finished: {epochs} of 3 epochs are done." in text
    assert "Nothing is shown of it." in text
    assert ("No epoch is done yet." in text) == (epochs == 0)
    assert ("Validation accuracy 40.00 %, loss 1.25, after 1 epoch" in text) == (epochs == 1)


def test_a_run_that_stopped_says_why(tmp_path):
    folder = write_run(tmp_path / "run", epochs=1)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    write_records(folder, [*records, {"kind": "stopped", "step": 4, "reason": "the loss is not finite at step 5"}])
    assert "Training stopped: the loss is not finite at step 5." in write_training_report(folder).read_text()


def test_the_configuration_alone_makes_a_page(tmp_path):
    folder = write_run(tmp_path / "run")
    for name in ("data.json", "environment.json", "metrics.jsonl"):
        (folder / name).unlink()
    text = write_training_report(folder).read_text()
    assert "No epoch is done yet." in text
    assert figures(text) == []


def test_folders_of_other_things(tmp_path):
    assert kind(write_study(tmp_path / "study", problems=("softmax",), optimizers=("sgd",))) == "comparison"
    with pytest.raises(ValueError, match="expected the folder of a training run; got that of a comparison"):
        read_training(tmp_path / "study")
    both = r"a comparison \(study\.json.*or of a training run \(config\.toml with \[train\]; jax231 train\); got "
    with pytest.raises(ValueError, match=both + "no such folder"):
        kind(tmp_path / "none")
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=both + "a folder with neither"):
        kind(tmp_path / "other")
    (tmp_path / "other" / "config.toml").write_text("[fit]\n")
    with pytest.raises(ValueError, match=both + r"a config\.toml with \[fit\]"):
        kind(tmp_path / "other")
    (tmp_path / "other" / "config.toml").write_text("[train]\nmodel = 3")
    with pytest.raises(ValueError, match="expected model, data, optimizer and epochs"):
        read_training(tmp_path / "other")
    (tmp_path / "other" / "config.toml").write_text("[train")
    with pytest.raises(ValueError, match=r"config\.toml: expected TOML"):
        kind(tmp_path / "other")
    folder = write_run(tmp_path / "run")
    (folder / "data.json").write_text("{")
    with pytest.raises(ValueError, match=r"data\.json: expected what `jax231 train` writes"):
        read_training(folder)


def test_pictures_of_all_kinds(tmp_path):
    pytest.importorskip("matplotlib")
    folder = write_run(tmp_path / "run", epochs=1)
    same = found()
    path = write_training_picture(folder, tmp_path / "run.svg", same)
    assert path.read_bytes() == write_training_picture(folder, tmp_path / "again.svg", same).read_bytes()
    assert "<!-- cat -->" in path.read_text()
    template = found().learned.first._replace(kind="template", kernel=np.ones((3, 3, 1, 3)))
    learned = found().learned._replace(first=template)
    path = write_training_picture(folder, tmp_path / "run.png", found(learned=learned))
    assert path.read_bytes().startswith(SIGNATURE)
    assert write_training_picture(folder, tmp_path / "alone.png").exists()
    members = write_training_picture(write_run(tmp_path / "members", members=3), tmp_path / "all.svg", found_members())
    assert "<!-- validation, together -->" in members.read_text()
    with pytest.raises(ValueError, match=r"a path ending in \.png or \.svg"):
        write_training_picture(folder, tmp_path / "run.gif")
    with pytest.raises(ValueError, match="a run with at least one chunk of steps"):
        write_training_picture(write_run(tmp_path / "begun", epochs=0), tmp_path / "none.png", found())


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_figures_are_drawn_in_a_browser_in_both_views(tmp_path):
    folder = write_run(tmp_path / "run", classes=LETTERS, shape=(6,))
    path = write_training_report(folder, found_text(LETTERS))
    click = "<script>document.querySelector('button[data-view=log]').click()</script>"
    path.write_text(path.read_text().replace("</body>", f"{click}</body>"))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
               "--dump-dom", path.as_uri()]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert text.count('class="main-svg"') >= 3
    assert "1 − accuracy" in text
