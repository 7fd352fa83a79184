import json

import pytest

from jax231.report.read import read_study
from tests.report.study import FRESH, finals, sweep, write_records, write_study


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "digits", problems=("softmax", "mlp"), optimizers=("sgd", "damped_newton"))


def test_whole_study(folder):
    results = read_study(str(folder))
    assert results.study.name == "digits"
    assert results.study.problems["softmax"].rates.hvp == 2.13
    assert len(results.runs) == 3 * len(FRESH)  # Damped Newton does not apply to the net
    assert len(results.lanes) == 3 * (9 + 9 + 7)
    assert results.missing == []
    assert "budget = 120.0" in results.config


def test_an_interrupted_study_says_what_is_missing(folder):
    records = (folder / "runs.jsonl").read_text().splitlines(keepends=True)
    (folder / "runs.jsonl").write_text("".join(records[:4]) + records[4][:50])  # torn by a kill
    assert read_study(folder).missing == [
        "Damped Newton on Softmax regression: 1 of 3 final runs",
        "SGD on Two-layer net, tanh: 0 of 3 final runs",
    ]
    (folder / "runs.jsonl").unlink()
    (folder / "sweep.jsonl").unlink()
    results = read_study(folder)
    assert results.runs == results.lanes == []
    assert results.missing[0] == "SGD on Softmax regression: 0 of 27 runs of the sweep"
    assert len(results.missing) == 6


def test_of_equal_records_the_last_one_counts(folder):
    with (folder / "sweep.jsonl").open("a") as file:
        file.write(json.dumps(sweep("softmax", "sgd")[0] | {"final": 0.5}) + "\n")
    results = read_study(folder)
    assert len(results.lanes) == 3 * (9 + 9 + 7)
    assert results.lanes[0].final == 0.5


def test_no_folder_and_no_study(tmp_path):
    with pytest.raises(
        ValueError, match="nowhere: expected the folder of a comparison; make one with `jax231 compare`"
    ):
        read_study(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"config\.toml: expected a file written by `jax231 compare`; got none"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("study.json", "{", r"study\.json: expected the facts of a study, format 1; got: Input data was truncated"),
        ("study.json", '{"format": 1}', r"study\.json: .*missing required field `name`"),
        (
            "study.json",
            '{"format": 1, "name": "x", "problems": {"p": {"title": "P", "parameters": "many"}}, "optimizers": {}}',
            r"Expected `int \| null`, got `str` - at `\$\.problems\[\.\.\.\]\.parameters`.*run the comparison again",
        ),
        ("study.json", '{"format": 2, "name": "x", "problems": {}, "optimizers": {}}', "format 1; got format=2"),
        ("config.toml", "[compare", r"config\.toml: expected TOML; got"),
        ("sweep.jsonl", "{}\nnot json\n{}\n", r"sweep\.jsonl, record 1: expected a Lane; got: Object missing"),
        ("sweep.jsonl", "not json\n", r"sweep\.jsonl, line 1: expected a JSON record; got b'not json'"),
        ("runs.jsonl", '{"problem": 3}\n', r"runs\.jsonl, record 1: expected a Run; got: Expected `str`"),
    ],
)
def test_a_corrupt_file_is_named(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_study(folder)


def test_records_must_fit_the_study(folder):
    runs = finals("softmax", "sgd")
    for change, message in (
        ({"optimizer": "sdg"}, r"record 2: expected one of \['sgd', 'damped_newton'\] as in study.json; got 'sdg'"),
        ({"steps": [0]}, "record 2: expected a Run; got: run of sgd on softmax: expected lists of one length"),
        ({"setting": 7.0}, "expected final runs of one setting for sgd on softmax"),
    ):
        write_records(folder / "runs.jsonl", [runs[0], runs[1] | change])
        with pytest.raises(ValueError, match=message):
            read_study(folder)
