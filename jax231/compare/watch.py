"""Who is told how a study gets on: the command line draws progress bars from it."""

from typing import Protocol, runtime_checkable

from jax231.compare.plan import Plan
from jax231.measure.summary import Number


@runtime_checkable
class Watcher(Protocol):
    """Hears what a study does."""

    def plan(self, plan: Plan) -> None:
        """What is about to be done."""

    def stage(self, title: str, total: Number) -> None:
        """A stage of so many units begins."""

    def advance(self, units: Number = 1) -> None:
        """So many units of the stage are done."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nobody."""

    def plan(self, plan: Plan) -> None:
        """Nothing."""

    def stage(self, title: str, total: Number) -> None:
        """Nothing."""

    def advance(self, units: Number = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
