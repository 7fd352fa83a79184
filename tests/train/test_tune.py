"""The search in stages: its settings, its lanes, its records, and going on after a kill."""

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax231.core.types import Batch
from jax231.data.preprocess import fit
from jax231.optim.decay import penalty
from jax231.optim.nesterov import nesterov
from jax231.search.folds import Folds
from jax231.search.space import Range
from jax231.train import lanes, network
from jax231.train.config import Config
from jax231.train.search import Search, ask, command
from jax231.train.sizes import arguments
from jax231.train.tune import read, score, tune
from tests import photos

CONFIG = Config(model="two_layer", data="digits", arguments={"hidden": 8}, batch=32, examples=96, validation=48)
SEARCH = Search(config=CONFIG, rate=(1e-2, 1e3), l2=(1e-5, 1e-2), settings=(5, 2), epochs=(2, 6), folds=1, lanes=2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    return folder, tune(SEARCH, folder)


def test_stages_from_coarse_to_fine(searched):
    folder, (coarse, fine) = searched
    assert [len(stage.records) for stage in (coarse, fine)] == [5, 2]
    assert fine.space["rate"].high / fine.space["rate"].low == pytest.approx(10 ** (5 / 3), rel=1e-3)
    assert fine.space["rate"].share(coarse.best.setting["rate"]) == pytest.approx(0.5, abs=1e-3)
    assert coarse.best.result.accuracy == max(score(r) for r in coarse.records if not r.result.broken)
    assert fine.best.result.accuracy > coarse.best.result.accuracy
    assert read(folder) == [*coarse.records, *fine.records]


def test_rates_that_explode_are_broken_off(searched):
    _, (coarse, _) = searched
    broken = [record.setting["rate"] for record in coarse.records if record.result.broken]
    fine = [record.setting["rate"] for record in coarse.records if not record.result.broken]
    assert broken
    assert min(broken) > max(fine)


def test_a_killed_search_goes_on_where_it_was(searched, tmp_path):
    folder, stages = searched
    for name in ("search.json", "settings.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / "settings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    texts = []
    again = tune(SEARCH, tmp_path, watcher=lambda text, share: texts.append(text))
    assert texts[0].startswith("stage 1: 3 of 5 settings")

    def numbers(stages):
        return [(r.setting, r.result._replace(seconds=0.0)) for stage in stages for r in stage.records]

    assert numbers(again) == numbers(stages)
    with pytest.raises(ValueError, match=r"tune: expected the search that the folder holds, or another --name"):
        tune(Search(config=CONFIG), tmp_path)


def test_halving_gives_the_better_half_more_epochs(tmp_path):
    search = Search(config=CONFIG, rate=(1e-2, 1e0), settings=(4,), epochs=(2,), halving=2, folds=2, lanes=4)
    (stage,) = tune(search, tmp_path)
    assert sorted(record.epochs for record in stage.records) == [1, 1, 2, 2]
    assert stage.best is not None
    assert stage.best.epochs == 2
    assert len(stage.best.result.accuracies) == 2
    kept = {record.index for record in stage.records if record.epochs == 2}
    first = [record for record in read(tmp_path) if record.rung == 0]
    assert kept == {r.index for r in sorted(first, key=lambda r: -r.result.accuracy)[:2]}
    # A rung whose settings are taken up from the rung before gives what training from the start gives.
    lines = (tmp_path / "settings.jsonl").read_text().splitlines()
    (tmp_path / "settings.jsonl").write_text("".join(f"{line}\n" for line in lines if json.loads(line)["rung"] == 0))
    (again,) = tune(search, tmp_path)
    for one, other in zip(stage.records, again.records, strict=True):
        assert one.result.accuracy == pytest.approx(other.result.accuracy, abs=0.02)


def test_a_lane_takes_the_steps_of_plain_training():
    images = np.asarray(jax.random.randint(jax.random.key(0), (12, 2, 2, 1), 0, 255)).astype(np.uint8)
    labels = np.arange(12, dtype=np.int32) % 3
    net = network.build(Config(model="two_layer", arguments={"hidden": 4}), (2, 2, 1), 3)
    stats = fit("per_channel", images)
    shared = lanes.share(Batch(images, labels), Folds(np.arange(8)[None], np.arange(8, 12)[None]), stats)
    rates, l2 = jnp.array([0.1, 0.01, 1e6]), jnp.array([0.0, 0.1, 0.0])
    numbers = lanes.Numbers(rates, jnp.zeros(3), l2, jnp.zeros(3), jnp.zeros(3, int))
    program = lanes.program(net, "nesterov", 8, drops=False)
    key = jax.random.key(1)
    now = program.begin(numbers, key)
    for _ in range(3):
        now, outcome = program.epoch(now, numbers, shared, key)

    x = jnp.asarray((images - stats.mean) / stats.scale, jnp.float32)
    begun = net.model.init(key)

    @jax.jit
    def by_hand(rate, strength):
        (params, state), tx = begun, nesterov(rate)
        memory = tx.init(params)

        def cost(params):
            outputs, _ = net.model.apply(params, state, x[:8], train=True)
            return net.losses(outputs, labels[:8]).mean() + penalty(params, strength)

        def step(_, carry):
            params, memory = carry
            updates, memory = tx.update(jax.grad(cost)(params), memory, params)
            return jax.tree.map(jnp.add, params, updates), memory

        params, _ = jax.lax.fori_loop(0, 3, step, (params, memory))
        return params, net.model.apply(params, state, x[8:], train=False)[0]

    for lane in (0, 1):  # one batch is the whole of the training part, so that its order does not matter
        params, outputs = by_hand(rates[lane], l2[lane])
        jax.tree.map(lambda a, b, lane=lane: np.testing.assert_allclose(a[lane], b, atol=1e-5), now.params, params)
        np.testing.assert_allclose(outcome.loss[lane], net.losses(outputs, labels[8:]).mean(), rtol=1e-4)
        np.testing.assert_allclose(outcome.accuracy[lane], np.mean(np.argmax(outputs, -1) == labels[8:]))
    np.testing.assert_array_equal(now.alive, [True, True, False])


def test_a_grid_and_random_settings():
    space = {"rate": Range(1e-3, 1e-1), "l2": Range(1e-6, 1e-2)}
    found = ask("grid", space, {"width": (8, 16)}, 18, 0)
    assert len(found) == 18
    assert {(s["rate"], s["l2"]) for s in found} == set(itertools.product((1e-3, 1e-2, 1e-1), (1e-6, 1e-4, 1e-2)))
    assert {s["width"] for s in found} == {8, 16}
    random = ask("random", space, {"depth": (1, 2, 3)}, 30, 0)
    assert {s["depth"] for s in random} == {1, 2, 3}
    assert len({s["rate"] for s in random}) == 30
    assert random == ask("random", space, {"depth": (1, 2, 3)}, 30, 0)


def test_sizes_in_the_words_of_each_model():
    assert arguments("mlp", {"width": 64, "depth": 3}) == {"widths": [64, 64, 64]}
    assert arguments("convnet", {"depth": 3}) == {"channels": [8, 16, 32]}
    assert arguments("two_layer", {}) == {}


def test_the_command_that_trains_a_setting():
    search = Search(config=CONFIG, width=(4, 8))
    line = command(search, {"rate": 0.05, "l2": 1e-4, "width": 4})
    assert line == ("jax231 train --model two_layer --data digits --optimizer nesterov --rate 0.05 --batch 32 "
                    "--epochs 8 --decay 0.0001 --examples 96 --validation 48 --arguments.hidden 4")  # fmt: skip
    assert command(search, {"rate": 0.05, "decay": 1e-4}) is None


def test_the_command_has_all_that_was_chosen():
    own = Config(model="mlp", data="my images", batch=16, preprocess="none", examples=50, validation=9, seed=3)
    line = command(Search(config=own, depth=(1, 2)), {"rate": 0.05, "depth": 2})
    assert line == ("jax231 train --model mlp --data 'my images' --optimizer nesterov --rate 0.05 --batch 16 "
                    "--epochs 8 --preprocess none --examples 50 --validation 9 --seed 3 "
                    "--arguments.widths '[100, 100]'")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": (5,), "epochs": (1, 2)}, "as many numbers of settings as of epochs"),
        ({"rate": (0.0, 1.0)}, "rate from low to high, both finite and above 0"),
        ({"dropout": (0.0, 1.0)}, r"dropout from low to high within \[0, 1\)"),
        ({"depth": (1, 2)}, "no depth for two_layer"),
        ({"config": Config(model="lenet"), "width": (4,)}, "width and depth of one of two_layer"),
        ({"config": Config(model="char_rnn")}, "a model of images that learns by descent"),
        ({"config": Config(optimizer="lbfgs")}, "an optimizer with a step size"),
        ({"config": Config(data="here/x", size=8, crop="random")}, "the crop none or center, as images are read once"),
        ({"method": "latin"}, "a method among random, sobol, grid"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said):
    given: dict[str, Any] = {"config": CONFIG, **options}
    with pytest.raises(ValueError, match=f"tune: expected {said}"):
        Search(**given)


@pytest.mark.parametrize(("folds", "count"), [(1, 96), (5, 96), (4, 96), (2, 72)])
def test_a_batch_is_refused_as_by_train(tmp_path, folds, count):
    search = Search(config=replace(CONFIG, batch=97), folds=folds)
    with pytest.raises(ValueError, match=f"a batch of at most the {count} training examples; got batch=97"):
        tune(search, tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_a_folder_is_resized_and_cut_and_its_damaged_images_are_listed(tmp_path):
    photos.write(tmp_path / "photos", 60, side=8)
    photos.damage(tmp_path / "photos" / "b" / "001.png")
    config = Config(model="softmax", data=str(tmp_path / "photos"), size=6, crop="center", corrupt="skip", batch=0)
    search = Search(config=config, settings=(2,), epochs=(1,), folds=1, lanes=2)
    (stage,) = tune(search, tmp_path / "search")
    assert (tmp_path / "search" / "corrupt.txt").read_text().startswith("b/001.png: expected")
    assert "--size 6 --crop center --corrupt skip" in str(command(search, {"rate": 0.1}))
    assert all(math.isfinite(record.result.accuracy) for record in stage.records)


def test_where_all_explodes_there_is_no_best(tmp_path):
    search = Search(config=CONFIG, rate=(1e5, 1e6), settings=(2, 1), epochs=(1, 1), folds=1, lanes=2)
    (stage,) = tune(search, tmp_path)
    assert stage.best is None
    assert all(math.isnan(score(record)) for record in stage.records)
