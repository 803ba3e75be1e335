"""How a raw image becomes what a network or a model file reads; both a machine and a person can follow it."""

from typing import TYPE_CHECKING, Literal, Self

from fednas.common import FednasError
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

InputType = Literal["float32", "uint8"]
Step = Literal["scale_to_0_1", "subtract_mean", "divide_by_std", "to_nchw"]
STEPS: dict[InputType, tuple[Step, ...]] = {
    "float32": ("scale_to_0_1", "subtract_mean", "divide_by_std", "to_nchw"),
    "uint8": ("to_nchw",),
}
"""What the user does to an image (height, width, channels), in order, before a file of that input type reads it."""


class Preprocessing(Record, frozen=True, kw_only=True):
    """network input = (pixel / value_range_max - mean) / std, channel by channel; layout NCHW."""

    channels: int
    height: int
    """Rows of the image the network takes; images of another size are resized by the user."""
    width: int
    value_range_max: float
    """Largest value that a raw pixel can have; the smallest is 0."""
    mean: tuple[float, ...]
    """One value a channel, of pixels scaled to 0 .. 1."""
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.input_shape) < 1 or not self.value_range_max > 0:
            raise FednasError(f"preprocessing has shape {self.input_shape} and range 0..{self.value_range_max}")
        if not len(self.mean) == len(self.std) == self.channels or not min(self.std) > 0:
            raise FednasError(
                f"preprocessing has mean {list(self.mean)} and std {list(self.std)} for {self.channels} channels",
                hint="give one mean and one positive std for each channel",
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return (self.channels, self.height, self.width)

    def apply(self, raw: "NDArray[np.generic]") -> "NDArray[np.float32]":
        """Network input (float32) of raw images; both (n, channels, height, width).

        Raises `FednasError` for images of another shape: numpy would spread a wrong number of channels silently.
        """
        import numpy as np

        if raw.shape[1:] != self.input_shape:
            wanted = ", ".join(map(str, self.input_shape))
            raise FednasError(f"images have shape {raw.shape}, the preprocessing takes (n, {wanted})")
        per_channel = (1, self.channels, 1, 1)
        scaled = raw.astype(np.float32) / np.float32(self.value_range_max)
        mean = np.asarray(self.mean, np.float32).reshape(per_channel)
        std = np.asarray(self.std, np.float32).reshape(per_channel)
        return np.ascontiguousarray((scaled - mean) / std)

    def pixels(self, inputs: "NDArray[np.floating]") -> "NDArray[np.float64]":
        """Raw images of network inputs, the reverse of `apply` up to rounding; both (n, channels, height, width)."""
        import numpy as np

        per_channel = (1, self.channels, 1, 1)
        scaled = inputs * np.reshape(self.std, per_channel) + np.reshape(self.mean, per_channel)
        whole: NDArray[np.float64] = np.clip(scaled, 0.0, 1.0) * self.value_range_max
        return whole


class ModelInput(Preprocessing, frozen=True, kw_only=True):
    """``preprocessing.json``: what a model file reads, and the ``steps`` that lead there from a raw image.

    A raw image is (height, width, channels). ``scale_to_0_1`` divides by ``value_range_max``; mean and standard
    deviation are of pixels in 0 .. 1, one number a channel; ``to_nchw`` moves the channels to the front. A file
    that reads uint8 does the other steps itself.
    """

    schema: Literal[1] = 1
    steps: tuple[Step, ...] = STEPS["float32"]
    input_layout: Literal["NCHW"] = "NCHW"
    input_type: InputType = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps != STEPS[self.input_type]:
            allowed = list(STEPS[self.input_type])
            raise FednasError(
                f"preprocessing has the steps {list(self.steps)}; allowed for {self.input_type} inputs: {allowed}"
            )
        if self.input_type == "uint8" and not 1 < self.value_range_max <= 255:
            raise FednasError(
                f"pixels from 0 to {self.value_range_max:g} do not fit uint8 inputs", hint="export with --input float32"
            )

    @classmethod
    def of(cls, preprocessing: Preprocessing, input_type: InputType = "float32") -> Self:
        """What a file reads whose network wants ``preprocessing``; raises `FednasError` if uint8 cannot serve."""
        return cls(
            channels=preprocessing.channels,
            height=preprocessing.height,
            width=preprocessing.width,
            value_range_max=preprocessing.value_range_max,
            mean=preprocessing.mean,
            std=preprocessing.std,
            steps=STEPS[input_type],
            input_type=input_type,
        )
