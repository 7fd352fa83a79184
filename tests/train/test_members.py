"""Members trained as one program against each seed alone, snapshots against the run they are taken from."""

import signal
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jax231.train import ensemble, evaluate, log, loop, members, network, predict, snapshots
from jax231.train.failure import DivergedError
from jax231.train.interrupt import Interrupted
from jax231.train.run import Member, Run, open_run
from jax231.train.sample import sample
from tests import runs
from tests.compilations import kept_in

CONFIG = runs.config(
    model="mlp_batch_norm", arguments={"widths": [6]}, dropout=0.3, decay=1e-3, ema=0.5, augment=("pad_crop",),
    schedule="warm_restarts", members=3, snapshots=2, seed=4, optimizer="adam", rate=0.01,
)  # fmt: skip
SPLITS = runs.images()


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")):
        yield


def train(folder, config=CONFIG, watcher=None, **options):
    return loop.train(config, folder, watcher=watcher, **{"splits": SPLITS, "chunk": 2, "save_seconds": 0.0, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("members") / "whole"
    return folder, train(folder)


def numbers(state):
    return state._replace(key=jax.random.key_data(state.key))


def test_a_member_is_the_run_of_its_seed_alone(whole, tmp_path):
    (folder, together), member = whole, 2
    alone = train(tmp_path / "alone", members.single(CONFIG, member))
    mine = members.alone(CONFIG, together.train, member)
    chex.assert_trees_all_close(numbers(mine), numbers(alone.train), rtol=1e-5, atol=1e-6)
    assert together.together["test"].members[2 * member + 1].accuracy == alone.together["test"].members[1].accuracy
    each = [record["validation_loss_members"][member] for record in log.read(folder)]
    np.testing.assert_allclose(each, [x["validation_loss"] for x in log.read(tmp_path / "alone")], rtol=1e-5)


class Stops(loop.Silent):
    """Asks the run to end after so many chunks."""

    def __init__(self, after):
        self._left = after

    def chunk(self, record):
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGTERM)


def test_what_a_reader_sees(whole):
    folder, result = whole
    run = open_run(folder)
    expected = [f"seed {seed}, step {step}" for seed in (4, 5, 6) for step in (5, 15)]
    assert [member.name for member in run.members] == expected
    found = predict.each(run, SPLITS.test.inputs)
    assert found.shape == (6, 10, 3)
    np.testing.assert_allclose(predict.predict(run, SPLITS.test.inputs), found.mean(0), rtol=1e-6)
    alone = predict.predict(run.alone(3), SPLITS.test.inputs)
    np.testing.assert_allclose(alone, found[3], rtol=1e-6)
    gained = ensemble.gain([run], SPLITS.test)
    of_six = result.together["test"]
    np.testing.assert_allclose([x.loss for x in gained.members], [x.loss for x in of_six.members], rtol=1e-5)
    np.testing.assert_allclose([x.loss for x in gained.growing], [x.loss for x in of_six.growing], rtol=1e-5)
    assert gained.ensemble.accuracy == of_six.ensemble.accuracy == result.test.accuracy
    with pytest.raises(ValueError, match=r"a run of one network.*has several.*seed 4, step 5"):
        _ = run.params
    with pytest.raises(ValueError, match=r"a member within \[0, 6\); got member=6"):
        run.alone(6)


def test_interrupted_at_a_snapshot_and_resumed_it_has_the_same_bits(whole, tmp_path):
    with pytest.raises(Interrupted, match="after step 5, which is saved"):
        train(tmp_path / "run", watcher=Stops(3))
    assert [member.name for member in open_run(tmp_path / "run").alone(1).members] == ["seed 5, step 5"]
    result = train(tmp_path / "run", resume=True, chunk=4)
    chex.assert_trees_all_equal(numbers(result.train), numbers(whole[1].train))
    assert result.test == whole[1].test
    assert result.together == whole[1].together


def test_when_snapshots_are_taken():
    config = runs.config(schedule="warm_restarts", snapshots=2, epochs=16, cycle=1.5, warmup=0.25)
    assert snapshots.steps(config, 5) == (9, 24, 54)  # 1.75, 4.75 and 10.75 epochs: within the steps after these
    even = runs.config(schedule="warm_restarts", snapshots=2, growth=1.0, cycle=0.2)
    assert snapshots.steps(even, 5) == tuple(range(1, 16))
    assert [snapshots.taken(config, 5, step) for step in (8, 9, 30, 80)] == [(), (9,), (9, 24), (24, 54)]
    assert snapshots.steps(runs.config(), 5) == ()


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("members") / "averaged"
    return folder, train(folder, runs.config(model="softmax", schedule="warm_restarts", epochs=1, ema=1.0))


def test_snapshots_are_what_the_run_was_at_the_ends_of_its_cycles(averaged, tmp_path):
    """The last is the run at its end, the first that of the run which ends with the first cycle."""
    result = train(tmp_path / "run", runs.config(model="softmax", schedule="warm_restarts", snapshots=2))
    first, last = (jax.tree.map(lambda x, i=i: x[i], result.train.snapshots[0]) for i in (0, 1))
    chex.assert_trees_all_close(first, averaged[1].train.params, rtol=1e-6)
    chex.assert_trees_all_equal(last, result.train.params)
    assert all("loss_members" not in record for record in log.read(tmp_path / "run"))
    assert [member.name for member in open_run(tmp_path / "run").members] == ["step 5", "step 15"]


def test_averages_are_compared_with_plain_parameters(averaged):
    run, labels = open_run(averaged[0], "newest"), SPLITS.test.targets
    found = ensemble.gain([run], SPLITS.test)
    params, state = run.members[0].plain
    chex.assert_trees_all_equal(params, averaged[1].train.params)
    plain = run._replace(members=(run.members[0]._replace(params=params, state=state),))
    assert found.plain_mean == ensemble.share(predict.predict(plain, SPLITS.test.inputs), labels)
    assert found.mean == found.ensemble == ensemble.share(predict.predict(run, SPLITS.test.inputs), labels)
    assert found.plain_mean.loss != found.mean.loss


def test_the_member_that_diverged_is_named(tmp_path):
    config = runs.config(optimizer="sgd", rate=1e37, members=2, seed=7)
    with pytest.raises(DivergedError, match=r"the member of seed 7: step \d+: "):
        train(tmp_path / "run", config, chunk=5)


@pytest.fixture(scope="module")
def readers(compiled_once):
    """Two networks that read a text, drawn and not trained, with a first axis for them; and as a run."""
    config, splits = runs.config(model="char_rnn", arguments={"hidden": 5, "layers": 1}, batch=1, length=6), runs.text()
    net = network.build(config, splits.shape, len(splits.classes))
    params, state = jax.vmap(net.model.init)(jax.random.split(jax.random.key(0), 2))
    params = jax.tree.map(lambda x: 3 * x, params)  # more decided
    each = tuple(Member(f"seed {i}", *jax.tree.map(lambda x, i=i: x[i], (params, state))) for i in range(2))
    return Run(Path("none"), config, net, each, None, splits.shape, splits.classes, 0), splits, (params, state)


def test_members_on_a_text_read_it_together(readers):
    run, splits, (params, state) = readers
    config, net = run.config, run.network
    part = evaluate.laid_out(config, splits, splits.validation)
    found = evaluate.together(config, net, splits)(params, state, part)
    alone = evaluate.program(config, net, splits)
    read = jax.jit(lambda params, state, codes: net.model.apply(params, state, (None, codes), train=False)[0][1])
    scores, logits = [], []
    codes = splits.validation.inputs[None]
    for i in range(2):
        own = jax.tree.map(lambda x, i=i: x[i], (params, state))
        scores.append(alone(*own, part))
        logits.append(read(*own, codes[:, :-1]))
    np.testing.assert_allclose([x.loss for x in found.members], [x.loss for x in scores], rtol=1e-5)
    probability = np.mean([jax.nn.softmax(x) for x in logits], 0)
    right = np.take_along_axis(probability, codes[:, 1:, None], -1)
    np.testing.assert_allclose(found.ensemble.loss, -np.log(right).mean(), rtol=1e-5)
    np.testing.assert_allclose(found.mean.loss, np.mean([x.loss for x in scores]), rtol=1e-6)


@pytest.mark.parametrize(("chosen", "temperature"), [((0, 1), 0.0), ((0, 1), 0.7), ((1,), 0.7)])
def test_members_write_from_the_mean_of_their_probabilities(readers, chosen, temperature):
    """Against a loop over members and characters: what each says where it has read all that stands before."""
    run, _, weights = readers
    run = run if len(chosen) == 2 else run.alone(*chosen)
    prompt, length = "to be", 12
    text = sample(run, length=length, temperature=temperature, prompt=prompt, seed=3)
    read = jax.jit(lambda params, state, codes: run.model.apply(params, state, (None, codes), train=False)[0][1])
    codes = [run.classes.index(character) for character in text]
    keys = jax.random.split(jax.random.key(3), length)
    alone = [read(*(jax.tree.map(lambda x, i=i: x[i], weights)), np.array([codes])) for i in chosen]
    mean = np.mean([jax.nn.softmax(scores[0]) for scores in alone], 0)
    for k, key in enumerate(keys):
        chances = mean[len(prompt) + k - 1]
        drawn = chances.argmax() if temperature == 0 else jax.random.categorical(key, np.log(chances) / temperature)
        assert codes[len(prompt) + k] == drawn


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"members": 0}, "at least one member; got members=0"),
        ({"members": 2, "model": "svm"}, "a model that gives probabilities"),
        ({"snapshots": 1}, "the schedule warm_restarts, at the ends of whose cycles"),
        ({"snapshots": 3, "schedule": "warm_restarts"}, "as many snapshots as the 2 cycles that end within the run"),
        ({"cycle": 0.0}, "a finite cycle of at least 0.01 epochs"),
        ({"growth": 0.5}, "a finite growth of at least 1"),
    ],
)
def test_what_cannot_be_an_ensemble(choices, said):
    with pytest.raises(ValueError, match=said):
        runs.config(**choices)


def test_several_devices_train_one_member(tmp_path):
    with pytest.raises(ValueError, match="one device for several members; got devices=2, members=3"):
        train(tmp_path / "run", devices=2)
    assert not (tmp_path / "run").exists()
