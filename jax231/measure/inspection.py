"""What was found in a trained model, as plain arrays: made by `train.inspect`, shown by `report.training`."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from jax231.core.checks import require
from jax231.measure.confusion import class_scores


class First(NamedTuple):
    """The weights that see the image, as pictures `kernel` (h, w, c, count).

    `kind` says what each picture is: the "filter" of a convolution, the input weights of a "unit", or the "template" of
    a class in a linear classifier. `member` names the network that has them, where there are several.
    """

    name: str
    kind: Literal["filter", "unit", "template"]
    kernel: Float[np.ndarray, "h w c count"]
    member: str = ""


class Sample(NamedTuple):
    """A text that a model wrote, and at which temperature."""

    text: str
    temperature: float


class Learned(NamedTuple):
    """What a checkpoint holds: that of step `step`, the best or the newest of the run.

    `start` is the loss of scores that are all alike, which a network has before its first step. `parameters` are those
    of one network of `networks`, which predict together.
    """

    title: str
    source: str
    parameters: int
    start: float
    which: Literal["best", "newest"]
    step: int
    first: First | None = None
    sample: Sample | None = None
    networks: int = 1


class Example(NamedTuple):
    """An image with the class that it is of and the one it was taken for, a number each, or one a pixel (h, w).

    `probability` is that of the predicted class and `believed` that of the true one, None where the model's scores are
    no probabilities or where there is one for each pixel. `place` is the example's number in the split.
    """

    place: int
    image: Integer[np.ndarray, "h w c"]
    truth: Integer[np.ndarray, "..."]
    predicted: Integer[np.ndarray, "..."]
    loss: float
    probability: float | None = None
    believed: float | None = None


class Surprise(NamedTuple):
    """A place in a text where the model thought the next character improbable: what stood before, and what came."""

    before: str
    truth: int
    predicted: int
    loss: float
    probability: float


class Alone(NamedTuple):
    """How one of several networks does by itself: means over the split, and the mean overlap of areas of pixels."""

    name: str
    loss: float
    accuracy: float
    mean_iou: float | None = None


class Judged(NamedTuple):
    """How a model does on a split of its data: means, the confusion matrix (rows the truth), the worst examples.

    `form` says what is counted: "images", their "pixels", or "characters"; `examples` are images or characters. `white`
    is the largest value of a pixel in the split, 16 of the digits that come with scikit-learn. Where several networks
    predict together, all this is of the mean of their probabilities, and `members` is each by itself.
    """

    split: str
    form: Literal["images", "pixels", "characters"]
    examples: int
    loss: float
    accuracy: float
    confusion: Integer[np.ndarray, "k k"]
    worst: tuple[Example, ...] = ()
    surprises: tuple[Surprise, ...] = ()
    white: int = 255
    members: tuple[Alone, ...] = ()

    @property
    def mean_iou(self) -> float | None:
        """Intersection over union, the mean over the classes that are there or were predicted; None but for pixels."""
        return float(np.nanmean(class_scores(self.confusion).iou)) if self.form == "pixels" else None

    @property
    def whole(self) -> Alone:
        """The means of all together."""
        return Alone("together", self.loss, self.accuracy, self.mean_iou)

    @property
    def mean(self) -> Alone:
        """The members' mean.

        Raises: ValueError where there are none.
        """
        require(len(self.members) > 0, "judged", "several networks", members=self.members)
        areas = [one.mean_iou for one in self.members if one.mean_iou is not None]
        area = float(np.mean(areas)) if areas else None
        losses, accuracies = ([getattr(one, name) for one in self.members] for name in ("loss", "accuracy"))
        return Alone("mean of them", float(np.mean(losses)), float(np.mean(accuracies)), area)


class Rates(NamedTuple):
    """The step size over the run, at `epochs` passes over the data."""

    epochs: Float[np.ndarray, "points"]
    rates: Float[np.ndarray, "points"]


class Inspection(NamedTuple):
    """What was found in a run; `notes` are sentences on what is not there, and why."""

    learned: Learned | None = None
    judged: Judged | None = None
    rates: Rates | None = None
    notes: tuple[str, ...] = ()
