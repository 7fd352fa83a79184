"""All checks of a model before it is trained, in the order of the course's advice on babysitting."""

from collections.abc import Callable, Iterator

from jax231.optim import catalog
from jax231.train import activity, rate_range, sanity
from jax231.train.case import Case, Check

BEYOND = 10.0
"""By how much the range test goes beyond the optimizer's usual step sizes at either end."""


def checks(case: Case, optimizer: str = "nesterov", rate: float | None = None, batch: int = 64) -> Iterator[Check]:
    """One check after the other, each as soon as it is done.

    The last two train, with an optimizer of the catalog: without a `rate` the update ratio is taken at the one that the
    range test suggests.
    """
    yield sanity.initial_loss(case)
    yield sanity.regularization(case)
    yield activity.activations(case)
    yield sanity.gradient(case)
    yield sanity.overfits(case)
    entry = catalog.entry(optimizer)
    if entry.needs or entry.setting != "step size":
        for name in ("rate range", "update to weight"):
            yield Check(name, "skipped", f"{entry.title} chooses its own step, or takes more than a gradient", {})
        return
    low, high = entry.space
    builder: Callable = entry.builder
    batch = min(batch, case.size)
    check, found = rate_range.rate_range(case, builder, low / BEYOND, high * BEYOND, batch=batch)
    yield check
    yield activity.update_ratio(case, builder, rate or found.suggested, batch=batch)


def advice(done: list[Check]) -> list[str]:
    """What to do, most pressing first, and where to begin if nothing is wrong."""
    said = [f"{check.name}: {check.advice}" for verdict in ("failed", "warning") for check in done
            if check.verdict == verdict and check.advice]  # fmt: skip
    ranges = [check.numbers for check in done if check.name == "rate range" and check.verdict in ("ok", "warning")]
    for numbers in ranges:
        begin = f"begin with a learning rate of about {numbers['suggested']:.1g} and little regularization"
        said.append(f"{begin}: loss not going down means the rate is too low, a cost of NaN that it is too high")
    return said
