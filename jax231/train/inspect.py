"""What is inside a trained model and where it errs, for `report.training` to show.

`inspect(folder)` finds all that there is of a run; what is not there is said in its notes.
"""

from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import Batch, PyTree
from jax231.data import sources
from jax231.functional.losses import softmax_cross_entropy
from jax231.measure.confusion import confusions
from jax231.measure.inspection import Alone, Example, First, Inspection, Judged, Learned, Rates, Sample, Surprise
from jax231.models.graph import graph
from jax231.models.summary import inputs_of
from jax231.optim import catalog
from jax231.train import answers, optimizer
from jax231.train import folder as folders
from jax231.train.checkpoint import CheckpointError, Say
from jax231.train.config import Config
from jax231.train.evaluate import BATCH, laid_out
from jax231.train.predict import probabilistic
from jax231.train.run import Run, open_run
from jax231.train.sample import sample
from jax231.train.splits import Splits
from jax231.train.step import first_carry

SplitName = Literal["train", "validation", "test"]
UNITS = 100
"""Units of a fully connected first layer that are shown."""

POINTS = 400
"""Steps of a run whose rate is asked for."""

SAMPLE, TEMPERATURE = 600, 0.8
"""Characters that a text model writes, and how boldly."""

CONTEXT = 40
"""Characters before a surprising one."""


def inspect(
    folder: Path | str,
    *,
    which: Literal["best", "newest"] = "best",
    split: SplitName | None = None,
    worst: int = 24,
    member: int = 0,
    data_dir: Path | None = None,
    splits: Splits | None = None,
    say: Say = lambda text: None,
) -> Inspection:
    """All that is found in the run in `folder`: its rates, what it learned, and how it does on a split of its data.

    `split` is the test split where there is one (None), else the validation split; `worst` examples of it are kept.
    Several networks are judged as they predict, together, and each by itself, and write a text together; the first
    layer is that of `member`. `splits` are the data where the caller has them; else they are loaded. A run without a
    checkpoint, as one that has just begun, and data that are not there are no errors: the notes say so.

    Raises: FolderError where `folder` is not that of a run; ValueError for a split that the data do not have, for data
            that are not those of the run, and for a member that it does not have; DataError for damaged files.
    """
    folder = Path(folder)
    require(worst >= 0, "inspect", "0 or more worst examples", worst=worst)
    config = folders.read_config(folder)
    if not (folder / "data.json").exists():
        return Inspection(notes=("The run was stopped before its first step.",))
    rates = rates_of(config, folders.read_facts(folder).steps)
    try:
        run = open_run(folder, which, say)
    except CheckpointError as error:
        return Inspection(rates=rates, notes=(f"Nothing is shown of what it learned: {error}.",))
    learned = learned_by(run, which, member)
    if splits is None and not _named(config.data):
        note = f"Nothing is shown of single examples: the data {config.data!r} are known by the script that trained."
        return Inspection(learned, None, rates, (note,))
    try:
        splits = run.dataset(data_dir) if splits is None else splits
    except FileNotFoundError as error:
        return Inspection(learned, None, rates, (f"Nothing is shown of single examples: {error}.",))
    return Inspection(learned, judge(run, splits, split, worst=worst), rates)


def _named(data: str) -> bool:
    """Whether a configuration names data that can be loaded, and not those that a caller handed in."""
    return data in sources.NAMES or "/" in data or Path(data).exists()


def rates_of(config: Config, steps: int) -> Rates | None:
    """The step size over a run whose epochs have so many steps; None for an optimizer that has none to set."""
    if catalog.entry(config.optimizer).setting == "damping":
        return None
    rate = optimizer.rate(config, steps)
    total = config.epochs * steps
    at = np.unique(np.linspace(0, total - 1, min(total, POINTS)).round())
    found = np.asarray(jax.vmap(rate)(jnp.asarray(at, jnp.float32))) if callable(rate) else np.full(len(at), rate)
    return Rates(at / steps, found.astype(np.float64))


def learned_by(run: Run, which: Literal["best", "newest"] = "best", member: int = 0) -> Learned:
    """What the checkpoint of a run holds: its size, the first layer of a member as pictures, and a text that it writes.

    Raises: ValueError for a member that the run does not have.
    """
    text, one = run.entry.form == "tokens", run.alone(member)
    return Learned(
        run.entry.title,
        run.entry.source,
        tree.size(one.params),
        run.entry.expected_start(len(run.classes)),
        which,
        run.step,
        None if text else first_layer(one),
        _sample(run) if text else None,
        len(run.members),
    )


def _sample(run: Run) -> Sample:
    """What a text model writes after the end of a line."""
    prompt = "\n" if "\n" in run.classes else run.classes[0]
    text = sample(run, length=SAMPLE, temperature=TEMPERATURE, prompt=prompt)
    return Sample(text.removeprefix(prompt), TEMPERATURE)


def first_layer(run: Run) -> First | None:
    """The weights that see the image, as pictures; None where they are none, as of a 1x1 convolution.

    Those of a fully connected layer are on the preprocessed image, turned back where preprocessing rotated it.

    Raises: ValueError for a run of several networks; ``first_layer(run.alone(i))`` is that of one.
    """
    calls = graph(run.network.constructor, _inputs(run)).calls
    kernels = {tree.name(path): x for path, x in jax.tree_util.tree_leaves_with_path(run.params)}
    name = next((call.name for call in calls if f"{call.name}/kernel" in kernels), None)
    if name is None:
        return None
    kernel = np.asarray(kernels[f"{name}/kernel"], np.float64)
    if kernel.ndim == 4:
        window = kernel.shape[0] * kernel.shape[1] > 1 and kernel.shape[2] in (1, 3)
        return First(name, "filter", kernel, run.members[0].name) if window else None
    if run.stats is not None and run.stats.basis.size:
        kernel = run.stats.basis @ kernel
    if len(kernel) != np.prod(run.shape) or run.shape[-1] not in (1, 3):
        return None
    kind = "template" if run.entry.architecture == "linear" else "unit"
    pictures = kernel.reshape(*run.shape, -1)[..., : None if kind == "template" else UNITS]
    return First(name, kind, pictures, run.members[0].name)


def _inputs(run: Run) -> PyTree:
    """The shape of one preprocessed image."""
    if run.stats is not None and run.stats.basis.size:
        return jax.ShapeDtypeStruct((1, run.stats.basis.shape[1]), jnp.float32)
    return inputs_of(run.entry, run.shape)


def judge(run: Run, splits: Splits, split: SplitName | None = None, *, worst: int = 24) -> Judged:
    """How the model of a run does on a split: means, confusion matrix, and the examples of highest loss.

    Several networks are judged by the mean of their probabilities, and each by itself.

    Raises: ValueError for a split that the data do not have.
    """
    name: SplitName = split or ("validation" if splits.test is None else "test")
    part = getattr(splits, name)
    require(part is not None, "inspect", "a split that the data have", split=name, data=splits.name)
    return _characters(run, splits, part, name, worst) if splits.stats is None else _images(run, part, name, worst)


def _images(run: Run, part: Batch, name: str, worst: int) -> Judged:
    """All images of a split, a batch at a time; the last is filled up with its first image, which is not counted."""
    answer, classes, several = answers.plain(run.network, run.stats), len(run.classes), len(run.members) > 1
    pixels = run.entry.of_pixels
    every = answers.each(answer, run.entry) if several else answer

    def seen(outputs: PyTree, targets: Array) -> tuple[Array, Array]:
        return run.network.losses(outputs, targets), jnp.argmax(run.entry.scores(outputs), -1)

    @jax.jit
    def look(params: PyTree, state: PyTree, images: Array, targets: Array) -> tuple[PyTree, PyTree, PyTree]:
        outputs = rows = every(params, state, images)
        if several:
            outputs = answers.mean_logs(rows)
        losses, predicted = seen(outputs, targets)
        chances = None
        if not pixels:
            shares = jax.nn.softmax(run.entry.scores(outputs).astype(jnp.float32))
            of = jnp.stack([predicted, targets.astype(predicted.dtype)], -1)
            chances = jnp.take_along_axis(shares, of, -1)
        alone = jax.vmap(seen, in_axes=(0, None), out_axes=1)(rows, targets) if several else None
        return (losses, predicted), chances, alone

    weights = run.stacked() if several else (run.params, run.state)
    found, white = [], 0
    size = min(BATCH, len(part.inputs))
    for begin in range(0, len(part.inputs), size):
        images, targets = part.inputs[begin : begin + size], part.targets[begin : begin + size]
        count, white = len(images), max(white, int(images.max()))
        whole = look(*weights, _filled(images, size), _filled(targets, size))
        found.append(jax.tree.map(lambda x, count=count: np.asarray(x)[:count], whole))
    (losses, predicted), chances, alone = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    truth = np.asarray(part.targets)
    matrix = confusions(truth, predicted, classes)
    shares = chances if probabilistic(run) else None
    examples = tuple(
        Example(
            int(i),
            np.asarray(part.inputs[i]),
            truth[i],
            predicted[i],
            float(losses[i]),
            None if shares is None else float(shares[i, 0]),
            None if shares is None else float(shares[i, 1]),
        )
        for i in np.argsort(-losses, kind="stable")[:worst]
    )
    accuracy = float(np.trace(matrix) / matrix.sum())
    form = "pixels" if pixels else "images"
    loss = float(losses.mean(dtype=np.float64))
    judged = Judged(name, form, len(losses), loss, accuracy, matrix, examples, white=white)
    return judged._replace(members=_alone(run, judged, truth, alone) if several else ())


def _alone(run: Run, judged: Judged, truth: np.ndarray, found: tuple[np.ndarray, np.ndarray]) -> tuple[Alone, ...]:
    """Each network by itself, from losses and predictions with a second axis for the networks."""
    each = []
    for i, member in enumerate(run.members):
        losses, predicted = (x[:, i] for x in found)
        matrix = confusions(truth, predicted, len(run.classes))
        one = judged._replace(
            loss=float(losses.mean(dtype=np.float64)), accuracy=float(np.trace(matrix) / matrix.sum()), confusion=matrix
        )
        each.append(one.whole._replace(name=member.name))
    return tuple(each)


def _filled(x: Num[np.ndarray, "n ..."], size: int) -> Num[np.ndarray, "size ..."]:
    return np.concatenate([x, np.repeat(x[:1], size - len(x), 0)])


def _characters(run: Run, splits: Splits, part: Batch, name: str, worst: int) -> Judged:
    """All characters of a text, read window by window in pieces side by side as `evaluate.laid_out` has them."""
    inputs, targets, _ = laid_out(run.config, splits, part).data
    answer, several = answers.plain(run.network, None), len(run.members) > 1
    every = answers.each(answer, run.entry) if several else answer
    carry = first_carry(run.config, run.network, inputs.shape[1])
    if several:
        carry = answers.repeated(carry, len(run.members))

    def seen(scores: Array, targets: Array) -> tuple[Array, Array]:
        return softmax_cross_entropy(scores, targets), jnp.argmax(scores, -1)

    @jax.jit
    def look(params: PyTree, state: PyTree, carry: PyTree, inputs: Array, targets: Array) -> PyTree:
        def window(carry: PyTree, one: tuple[Array, Array]) -> tuple[PyTree, PyTree]:
            carry, rows = every(params, state, (carry, one[0]))
            if not several:
                return carry, (seen(rows, one[1]), None)
            alone = jax.vmap(seen, in_axes=(0, None), out_axes=-1)(rows, one[1])
            return carry, (seen(answers.mean_logs(rows), one[1]), alone)

        return jax.lax.scan(window, carry, (inputs, targets))[1]

    count, weights = len(part.inputs) - 1, run.stacked() if several else (run.params, run.state)
    told = jax.tree.map(lambda x: _in_order(x, count), look(*weights, carry, inputs, targets))
    (losses, predicted), alone = told
    truth = np.asarray(part.inputs)[1:]
    matrix = confusions(truth, predicted, len(run.classes))
    surprises = tuple(
        Surprise(
            "".join(run.classes[code] for code in part.inputs[max(0, i + 1 - CONTEXT) : i + 1]),
            int(truth[i]),
            int(predicted[i]),
            float(losses[i]),
            float(np.exp(-losses[i])),
        )
        for i in np.argsort(-losses, kind="stable")[:worst]
    )
    accuracy, loss = float(np.trace(matrix) / count), float(losses.mean(dtype=np.float64))
    judged = Judged(name, "characters", count, loss, accuracy, matrix, surprises=surprises)
    return judged._replace(members=_alone(run, judged, truth, alone) if several else ())


def _in_order(x: Array, count: int) -> Num[np.ndarray, "count ..."]:
    """(windows, rows, length, ...) as one text, without what it was padded with."""
    return np.asarray(x).swapaxes(0, 1).reshape(-1, *x.shape[3:])[:count]
