"""Training images that show a converter how large the numbers inside a network become."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fednas.common import ContractError, FednasError
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

CALIBRATION_IMAGES = 512
MIN_CALIBRATION_IMAGES = 32
MOST_HELD_OUT_IMAGES = 2000
MIN_HELD_OUT_IMAGES = 64
_BATCH = 16
"""Every tensor of the network is kept for this many images at once."""


class Calibration(Record, frozen=True, kw_only=True):
    """What an artefact of a lower precision was calibrated on."""

    images: int
    classes: int
    """Different classes among them; 0 for random inputs."""
    source: Literal["training images", "random inputs"]
    seed: int
    """Of the choice of images."""
    method: str
    """What was taken from them."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeldOutImages:
    """Validation images: neither trained nor calibrated on, and apart from those that prove the file.

    Choices are made on them.
    """

    inputs: "NDArray[np.float32]"
    """(n, channels, height, width), preprocessed."""
    labels: "NDArray[np.integer]"
    """(n,)."""
    seed: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CalibrationImages:
    """The images, ready for the network."""

    inputs: "NDArray[np.float32]"
    """(n, channels, height, width), preprocessed."""
    classes: int
    seed: int
    real: bool
    """False: random numbers, because there is no data."""
    held_out: HeldOutImages | None = None
    """None: not asked for, or too few."""

    def __post_init__(self) -> None:
        import numpy as np

        if self.inputs.ndim != 4 or self.inputs.dtype != np.float32:
            raise ContractError(f"calibration inputs of shape {self.inputs.shape}, type {self.inputs.dtype}")
        if not np.isfinite(self.inputs).all():
            raise FednasError("calibration images hold NaN or infinite values", hint="mend the training images")

    def record(self, method: str) -> Calibration:
        """The manifest's record of them."""
        source: Literal["training images", "random inputs"] = "training images" if self.real else "random inputs"
        return Calibration(images=len(self.inputs), classes=self.classes, source=source, seed=self.seed, method=method)


def choose_calibration_images(
    images: "NDArray[Any]",
    labels: "NDArray[np.integer]",
    prepare: "Callable[[NDArray[Any]], NDArray[np.float32]]",
    *,
    count: int = CALIBRATION_IMAGES,
    seed: int = 0,
) -> CalibrationImages:
    """``count`` training images at random, or all if there are fewer.

    Args:
        images: raw, (n, channels, height, width).
        labels: (n,) their classes.
        prepare: the preprocessing, applied to the chosen ones only.
        count: how many to use.
        seed: of the choice.

    Raises:
        FednasError: fewer than `MIN_CALIBRATION_IMAGES`, all of one class, or values that are not finite.
    """
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    if len(chosen) < MIN_CALIBRATION_IMAGES:
        raise FednasError(
            f"calibration needs at least {MIN_CALIBRATION_IMAGES} training images, there are {len(chosen)}",
            hint="give more training images, or ask for --precision fp32",
        )
    classes = len(np.unique(labels[chosen]))
    if classes < 2:
        raise FednasError(
            f"all {len(chosen)} calibration images belong to one class, so the others' range would be a guess",
            hint="give training images of every class, or ask for --precision fp32",
        )
    return CalibrationImages(inputs=prepare(images[chosen]), classes=classes, seed=seed, real=True)


def held_out_images(
    images: "NDArray[Any]",
    labels: "NDArray[np.integer]",
    prepare: "Callable[[NDArray[Any]], NDArray[np.float32]]",
    *,
    seed: int = 0,
) -> HeldOutImages | None:
    """At most `MOST_HELD_OUT_IMAGES` validation images at random; None if there are fewer than 64.

    Arguments are those of `choose_calibration_images`.
    """
    import numpy as np

    if len(images) < MIN_HELD_OUT_IMAGES:
        return None
    chosen = np.random.default_rng(seed).permutation(len(images))[:MOST_HELD_OUT_IMAGES]
    return HeldOutImages(inputs=prepare(images[chosen]), labels=labels[chosen], seed=seed)


def tensor_maxima(model: "onnx.ModelProto", inputs: "NDArray[np.float32]") -> Mapping[str, float]:
    """Largest absolute value of every tensor that flows through a float32 model, by name.

    Raises `FednasError` if one is not finite: then the network is broken at any precision.
    """
    import numpy as np
    import onnx
    import onnxruntime

    known = {value.name for value in model.graph.output}
    open_model = onnx.shape_inference.infer_shapes(model)
    open_model.graph.output.extend(value for value in open_model.graph.value_info if value.name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(open_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    feed = session.get_inputs()[0].name
    maxima = {feed: float(np.abs(inputs).max()), **dict.fromkeys(names, 0.0)}
    for start in range(0, len(inputs), _BATCH):
        for name, values in zip(names, session.run(names, {feed: inputs[start : start + _BATCH]}), strict=True):
            # maximum, unlike max(), lets NaN through.
            maxima[name] = float(np.maximum(maxima[name], np.abs(values).max()))
    # In the order of the graph, so that the first is where it began.
    broken = [name for node in model.graph.node for name in node.output if not np.isfinite(maxima[name])]
    if broken:
        raise FednasError(f"tensor {broken[0]!r} is NaN or infinite on the calibration images", hint="train again")
    return maxima
