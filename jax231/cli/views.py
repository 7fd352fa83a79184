"""The flags of `evaluate`, `predict` and `ensemble` that let a network see an image in several ways."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import jax231.data.views

from jax231.core.checks import require


@dataclass(frozen=True, kw_only=True)
class Views:
    """Test-time averaging: the mean of the probabilities that a network gives to several views of an image."""

    views: Literal["flip", "five_crop", "ten_crop", "multi_scale"] | None = None
    """See an image in several ways and average the probabilities: its mirror image too, crops at the corners and the
    centre, these with their mirror images, or several scales. Crops can hurt a run trained without pad_crop, mirror
    images one without flip."""

    margin: int | None = None
    """Pixels by which the image is larger than a crop on each side (None: an eighth of its height)."""

    canvas: Literal["padded", "enlarged"] = "padded"
    """What crops are cut from: the image with zeros around it, or enlarged."""

    scales: tuple[float, ...] = (1.0, 1.125, 1.25)
    """How many times as large the image is seen by multi_scale."""

    dense: bool = False
    """Show multi_scale's images whole, to a network that pools over any area, instead of their middles."""

    def __post_init__(self):
        crops = self.views in ("five_crop", "ten_crop")
        for name, fits in (("margin", crops), ("canvas", crops), ("scales", self.views == "multi_scale"),
                           ("dense", self.views == "multi_scale")):  # fmt: skip
            changed = getattr(self, name) != getattr(type(self), name)
            owner = "multi_scale" if name in ("scales", "dense") else "five_crop or ten_crop"
            require(fits or not changed, "views", f"--views {owner} with --{name}", views=self.views)

    def build(self) -> "jax231.data.views.Views | None":
        """The views as a function of images; None where none were asked for."""
        if self.views is None:
            return None
        from jax231.data.views import named

        return named(self.views, margin=self.margin, canvas=self.canvas, scales=self.scales, dense=self.dense)


NONE = Views()
