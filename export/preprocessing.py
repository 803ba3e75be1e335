"""How a raw image becomes the network's input, in a form that a machine and a person can both follow."""

from typing import TYPE_CHECKING, Literal

from fednas.common import FednasError
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Step = Literal["scale_to_0_1", "subtract_mean", "divide_by_std", "to_nchw"]
STEPS: tuple[Step, ...] = ("scale_to_0_1", "subtract_mean", "divide_by_std", "to_nchw")


class Preprocessing(Record, frozen=True, kw_only=True):
    """The steps from raw pixels (height, width, channels) to the input, in the order of ``steps``.

    ``scale_to_0_1`` divides by ``value_range_max``; mean and standard deviation are of pixels in 0 .. 1, one
    number a channel; ``to_nchw`` moves the channels to the front. Raises `FednasError` if it cannot be meant.
    """

    schema: Literal[1] = 1
    channels: int
    height: int
    """Rows of the image the network takes; images of another size are resized by the user."""
    width: int
    value_range_max: float
    """Largest value that a raw pixel can have; the smallest is 0."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    steps: tuple[Step, ...] = STEPS
    input_layout: Literal["NCHW"] = "NCHW"
    input_type: Literal["float32"] = "float32"

    def __post_init__(self) -> None:
        if min(self.input_shape) < 1 or not self.value_range_max > 0:
            raise FednasError(f"preprocessing has shape {self.input_shape} and range 0..{self.value_range_max}")
        if not len(self.mean) == len(self.std) == self.channels or not min(self.std) > 0:
            raise FednasError(
                f"preprocessing has mean {list(self.mean)} and std {list(self.std)} for {self.channels} channels",
                hint="give one mean and one positive std for each channel",
            )
        if self.steps != STEPS:
            raise FednasError(f"preprocessing has the steps {list(self.steps)}; allowed: {list(STEPS)}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return (self.channels, self.height, self.width)

    def apply(self, images: "NDArray[np.generic]") -> "NDArray[np.float32]":
        """Input (n, channels, height, width) of raw images (n, height, width, channels).

        The reference for whoever writes the same steps on the board.
        """
        import numpy as np

        if images.ndim != 4 or images.shape[1:] != (self.height, self.width, self.channels):
            wanted = ("n", self.height, self.width, self.channels)
            raise FednasError(f"images have shape {images.shape}, the preprocessing takes {wanted}")
        scaled = images.astype(np.float32) / np.float32(self.value_range_max)
        normalised = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
