import json
import math

import pytest

from jax231.measure.summary import Spread, summarize
from jax231.report import words
from jax231.report.read import read_study
from tests.report.study import write_records, write_study


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (31.4, "31"),
        (9.96, "10"),
        (9.3, "9.3"),
        (0.27, "0.27"),
        (3.2e-5, "3.2·10⁻⁵"),
        (1e-6, "10⁻⁶"),
        (0, "0"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers_have_two_or_three_digits(value, text):
    assert words.number(value) == text


def test_durations_carry_a_unit_that_fits():
    assert [words.duration(s) for s in (4.1e-7, 4.1e-4, 0.012, 0.5, 12, 300, math.inf)] == [
        "0.41 µs", "0.41 ms", "12 ms", "0.5 s", "12 s", "5.0 min", "∞",
    ]  # fmt: skip


def test_a_range_has_its_unit_once():
    assert words.spread_text(Spread(2.0, 1.0, 3.0), words.duration) == "1.0–3.0 s"
    assert words.spread_text(Spread(0.5, 0.01, 3.0), words.duration) == "10 ms–3.0 s"
    assert words.spread_text(Spread(9.3, 9.3, 9.3)) == ""
    assert words.between([1.0, 2.5]) == "1.0–2.5"
    assert words.between(0.031) == "spread 3.1 %"


def test_listing():
    lists = [[], ["a"], ["a", "b"], ["a", "b", "c"]]
    assert [words.listing(items) for items in lists] == ["", "a", "a and b", "a, b and c"]


def test_a_day_is_written_out():
    assert words.date("2026-11-20T14:03:11+00:00") == "20 November 2026"
    assert words.date("yesterday") == "yesterday"


def test_who_spends_more_than_the_budget_is_named(tmp_path):
    folder = write_study(tmp_path / "digits", problems=("softmax",), optimizers=("sgd", "lbfgs"))
    assert words.excess(read_study(folder), "softmax") == ""
    records = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    records[0]["cost"][-1] = 400.0
    write_records(folder / "runs.jsonl", records)
    assert words.excess(read_study(folder), "softmax") == "SGD (up to 400)"


def test_headline_counts_problems_by_target(tmp_path):
    folder = write_study(tmp_path / "digits", problems=("softmax", "convnet"), optimizers=("sgd", "adam", "lbfgs"))
    results = read_study(folder)
    tables = summarize(results.runs, results.lanes)
    assert words.headline(results, tables) == (
        "To the 1 % target a second-order method is the cheapest on 1 of 2 problems and the fastest on 2; "
        "to the 0.1 % target on 1 and 1."
    )
    assert words.least(tables["convnet"], 1e-3, "cost") is None
