"""What a training run was and how it ended, in plain words."""

import math
from collections.abc import Sequence
from typing import Any

from jax231.measure.confusion import Mistake
from jax231.measure.inspection import Inspection, Judged, Learned
from jax231.measure.summary import Number
from jax231.report.training.read import Training
from jax231.report.words import duration, listing, number

PERCENT = "\N{NO-BREAK SPACE}%"

BLANKS = {" ": "space", "\n": "end of line", "\t": "tab", "\r": "return"}
"""Characters that one does not see."""

SIGNS = {"space": "␣", "end of line": "↵", "tab": "⇥", "return": "␍"}
"""What stands for them where there is little room."""


def share(value: Number | None) -> str:
    """A share in percent with two digits after the point, on one line: 99.13 %."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2f}{PERCENT}"


def chance(value: float) -> str:
    """A probability in percent: 97.1 %, 0.02 %, < 0.01 %."""
    if 0 <= value < 1e-4:
        return f"<\N{NO-BREAK SPACE}0.01{PERCENT}"
    return f"{100 * value:.1f}{PERCENT}" if value >= 0.01 else f"{100 * value:.2f}{PERCENT}"


def loss(value: Number | None) -> str:
    """A loss with four digits."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def points(value: float) -> str:
    """A difference of shares in points of a hundred: +0.31 points."""
    return f"{100 * value:+.2f} points"


def is_text(training: Training) -> bool:
    """Whether the run is on a text, whose examples are windows of characters."""
    return training.facts is not None and len(training.facts.shape) == 1


def class_names(classes: Sequence[str], text: bool) -> list[str]:
    """The classes as they are shown: of a text characters, blanks by their names."""
    return [BLANKS.get(name, name) for name in classes] if text else list(classes)


def bits(nats: Number) -> float:
    """A loss in bits a character."""
    return nats / math.log(2)


def state(training: Training) -> str:
    """What the reader of a run that is not finished should know, else nothing."""
    if training.finished:
        return ""
    again = f"jax231 train --resume {training.folder}"
    done = f"{training.done} of {training.config['epochs']} epochs are done"
    if training.stopped is not None:
        return f"Training stopped: {training.stopped}. {done[0].upper()}{done[1:]}."
    return f"This run is not finished: {done}. If it is not still at work, go on with {again}."


def headline(training: Training, judged: Judged | None, learned: Learned | None = None) -> str:
    """One sentence: how good the model is, and what it took."""
    took = epochs(training.done)
    took += f" and {duration(training.seconds)} of training" if training.chunks else ""
    if judged is not None:
        last = training.epochs[-1]["step"] if training.epochs else None
        other = learned is not None and learned.step != last
        at = f", by the {learned.which} checkpoint ({_place(training, learned.step)})," if learned and other else ""
        verdict, count = _verdict(judged), len(judged.members)
        verdict = f"{count} networks together: {verdict[0].lower()}{verdict[1:]}" if count else verdict
        return f"{verdict}{at} after {took}."
    last = training.epochs[-1] if training.epochs else {}
    for split, record in (("Test", training.test or {}), ("Validation", last), ("Training", last)):
        prefix = "" if split == "Training" else f"{split.lower()}_"
        value = record.get(f"{prefix}loss")
        if value is not None:
            if is_text(training):
                return f"{split} loss {loss(value)} nats a character ({bits(value):.3g} bits) after {took}."
            return f"{split} accuracy {share(record.get(f'{prefix}accuracy'))}, loss {loss(value)}, after {took}."
    return "No epoch is done yet."


def _place(training: Training, step: int) -> str:
    """A step and its epoch, where it is known."""
    epoch = "" if training.facts is None else f", epoch {-(-step // training.facts.steps)}"
    return f"step {step:,}{epoch}"


def _verdict(judged: Judged) -> str:
    """The main number of a split."""
    split = judged.split.capitalize() if judged.split != "train" else "Training"
    if judged.form == "characters":
        nats = judged.loss
        return (
            f"{split} loss {loss(nats)} nats a character ({bits(nats):.3g} bits, perplexity {math.exp(nats):.3g}), "
            f"{share(judged.accuracy)} of {judged.examples:,} characters right"
        )
    if judged.form == "pixels":
        images = f"{judged.examples:,} images"
        return f"{split} mean IoU {share(judged.mean_iou)}, {share(judged.accuracy)} of the pixels of {images} right"
    wrong = judged.examples - round(judged.accuracy * judged.examples)
    return f"{split} accuracy {share(judged.accuracy)}, {wrong:,} of {judged.examples:,} images wrong"


def facts(training: Training, inspection: Inspection) -> list[tuple[str, str]]:
    """Terms and values: what was trained on what, and how; those that are known."""
    config, learned = training.config, inspection.learned
    rate = config.get("rate")
    first = float(inspection.rates.rates.max()) if inspection.rates is not None else None
    size = f", step size {number(rate or first)}" if (rate or first) and inspection.rates is not None else ""
    size = f", damping {number(rate)}" if rate and inspection.rates is None else size
    several = f" in each of {learned.networks} networks" if learned and learned.networks > 1 else ""
    regular = {
        "weight decay": config.get("decay"), "dropout": config.get("dropout"), "smoothing": config.get("smoothing"),
        "mixup": config.get("mixup"), "largest gradient": config.get("clip"), "average": config.get("ema"),
    }  # fmt: skip
    terms = {
        "Model": f"{learned.title} ({config['model']})" if learned else config["model"],
        "Arguments": _options(config.get("arguments", {})),
        "Source": learned.source if learned else "",
        "Parameters": f"{learned.parameters:,}{several}" if learned else "",
        "Members": _members(config),
        "Snapshots": f"the last {config['snapshots']} ends of cycles" if config.get("snapshots") else "",
        "Data": _data(training),
        "Optimizer": f"{config['optimizer']}{size}" + _after(", ", _options(config.get("options", {}))),
        "Schedule": _schedule(config),
        "Length": epochs(config["epochs"]) + _after(" of ", _steps(training)),
        "Regularization": listing([f"{name} {number(x)}" for name, x in regular.items() if x]),
        "Augmentation": listing(list(config.get("augment", ()))),
        "Preprocessing": "" if is_text(training) else config.get("preprocess", ""),
        "Precision": config.get("precision", "") if config.get("precision") != "float32" else "",
        "Started from": _initial(config),
        "Frozen": listing(list(config.get("freeze", ()))),
        "Seed": str(config.get("seed", 0)),
        "Loss of a guess": loss(learned.start) if learned else "",
        "Checkpoint": f"the {learned.which}, that of step {learned.step:,}" if learned else "none",
    }  # fmt: skip
    return [(term, value) for term, value in terms.items() if value]


def epochs(count: int) -> str:
    """1 epoch, 2 epochs."""
    return f"{count:,} epoch{'s' if count != 1 else ''}"


def _members(config: dict[str, Any]) -> str:
    """The seeds of several members."""
    count, seed = config.get("members", 1), config.get("seed", 0)
    return f"{count}, of the seeds {seed} to {seed + count - 1}" if count > 1 else ""


def _initial(config: dict[str, Any]) -> str:
    """The run or file that this one started from, and which network of it."""
    member = config.get("initial_member")
    return config.get("initial", "") + ("" if member is None else f", member {member}")


def _schedule(config: dict[str, Any]) -> str:
    warmup = config.get("warmup")
    return config.get("schedule", "constant") + (f", after {number(warmup)} epochs of warmup" if warmup else "")


def _after(word: str, text: str) -> str:
    return word + text if text else ""


def _options(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _data(training: Training) -> str:
    found = training.facts
    if found is None:
        return training.config["data"]
    if is_text(training):
        return f"{found.data}, {len(found.classes)} characters, read {found.shape[0]} at a time"
    return f"{found.data}, images {'×'.join(map(str, found.shape))}, {len(found.classes)} classes"


def _steps(training: Training) -> str:
    found = training.facts
    if found is None:
        return ""
    return f"{found.steps:,} steps of {found.batch:,} {'places' if is_text(training) else 'images'}"


def speed(training: Training) -> list[tuple[str, str]]:
    """Terms and values: how long it took and how fast it was."""
    if not training.chunks:
        return []
    rates = sorted(chunk["examples_per_second"] for chunk in training.chunks)
    unit = "characters/s" if is_text(training) else "images/s"
    whole = [record["seconds"] for record in training.epochs]
    return [
        ("Training", f"{duration(training.seconds)}, without compilation and evaluation"),
        ("Speed", f"{number(rates[len(rates) // 2])} {unit}, median of {len(rates)} chunks of steps"),
        ("An epoch", f"{duration(sorted(whole)[len(whole) // 2])}, median" if whole else ""),
    ]


def scores(training: Training, inspection: Inspection) -> list[tuple[str, dict[str, Any]]]:
    """The scores that are known: split and when, and by name its numbers."""
    rows, seen = [], set()
    several = training.config.get("members", 1) > 1
    together = ", all together" if several else ""
    if training.epochs:
        last = training.epochs[-1]
        rows.append((f"training, mean over epoch {last['epoch']}{' and members' * several}", _numbers(last, "")))
        held = [record for record in training.epochs if record.get("validation_loss") is not None]
        if held:
            rows.append((f"validation, epoch {held[-1]['epoch']}{together}", _numbers(held[-1], "validation_")))
            if not training.config.get("snapshots"):  # which predict together only at the end
                seen.add(("validation", held[-1]["step"]))
    if training.test is not None:
        at = _place(training, training.test["step"])
        whole = ", all together" if training.test.get("test_loss_members") else ""
        rows.append((f"test, last checkpoint ({at}){whole}", _numbers(training.test, "test_")))
        seen.add(("test", training.test["step"]))
    judged, learned = inspection.judged, inspection.learned
    if judged is not None and learned is not None and (judged.split, learned.step) not in seen:
        found = {"loss": judged.loss, "accuracy": judged.accuracy, "mean_iou": judged.mean_iou}
        whole, at = ", all together" if judged.members else "", _place(training, learned.step)
        rows.append((f"{judged.split}, {learned.which} checkpoint ({at}){whole}", found))
    return rows


def _numbers(record: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name: record.get(f"{prefix}{name}") for name in ("loss", "accuracy", "mean_iou")}


def said(mistake: Mistake, names: Sequence[str], form: str) -> str:
    """A mistake in words: "4 taken for 9: 12 times, 1.2 % of all 4"."""
    true, other = (quoted(names[label], form) for label in (mistake.truth, mistake.predicted))
    unit = {"images": "images", "pixels": "pixels", "characters": "times"}[form]
    unit = unit.removesuffix("s") if mistake.count == 1 else unit
    return f"{true} taken for {other}: {mistake.count:,} {unit}, {share(mistake.share)} of all {true}"


def quoted(name: str, form: str) -> str:
    """A character in quotation marks, where one sees it; any other class as it is called."""
    return f"“{name}”" if form == "characters" and len(name) == 1 else name
