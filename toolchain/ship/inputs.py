"""What the proof of a file runs on: held-out images, in the form that the network and the file each read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError
from fednas.export import InputType, ModelInput, Precision, random_inputs, unlabelled
from fednas.profiles import DeviceProfile
from fednas.toolchain.data import DataKind, parse_data_spec
from fednas.toolchain.ship.source import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RANDOM_INPUTS = 256
"""Inputs for the parity check where there is no data."""
LOWEST_UINT8_TENSORRT = (8, 5)
"""The first TensorRT that takes uint8 inputs (its release notes, and NVIDIA/TensorRT issue 1503)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProofInputs:
    """The same images twice, with their labels."""

    network: "NDArray[np.float32]"
    """(n, channels, height, width), normalised: what the torch network reads."""
    file: "NDArray[Any]"
    """What the file reads: the same, or the raw pixels as uint8."""
    labels: "NDArray[np.int64]"
    """(n,); -1 for random inputs."""
    scaled: "NDArray[np.float32] | None"
    """Pixels from 0 to 1, for pictures; None for random inputs."""


def proof_inputs(source: Source, input_type: InputType) -> ProofInputs:
    """The test images, or random inputs where there is no data."""
    import numpy as np

    if source.data is None:
        labels = unlabelled(RANDOM_INPUTS)
        if input_type == "float32":
            network = random_inputs(source.preprocessing.input_shape, RANDOM_INPUTS)
            return ProofInputs(network=network, file=network, labels=labels, scaled=None)
        brightest = int(source.preprocessing.value_range_max)
        shape = (RANDOM_INPUTS, *source.preprocessing.input_shape)
        raw = np.random.default_rng(0).integers(0, brightest + 1, shape, dtype=np.uint8)
        return ProofInputs(network=source.preprocessing.apply(raw), file=raw, labels=labels, scaled=None)
    images, labels = source.data.test.images, source.data.test.labels
    network = source.data.preprocessing.apply(images)
    scaled = images.astype(np.float32) / np.float32(source.data.preprocessing.value_range_max)
    file = network if input_type == "float32" else images.astype(np.uint8)
    return ProofInputs(network=network, file=file, labels=labels, scaled=scaled)


def require_input_type(input_type: InputType, devices: Sequence[DeviceProfile]) -> None:
    """Raise `FednasError` for a device that takes no files that read ``input_type``."""
    if input_type == "float32":
        return
    for device in devices:
        if device.tensorrt is not None and _version(device.tensorrt.version) < LOWEST_UINT8_TENSORRT:
            raise FednasError(
                f"{device.name} has TensorRT {device.tensorrt.version}, which takes no uint8 inputs; 8.5 is the first",
                hint="leave out --input uint8, and normalise as preprocessing.json says",
            )


def require_pixels(input_type: InputType, source: Source) -> None:
    """Raise `FednasError` where files that read ``input_type`` cannot serve the images."""
    if input_type == "float32":
        return
    ModelInput.of(source.preprocessing, input_type)
    if source.data is not None and (source.data.test.images.astype("uint8") != source.data.test.images).any():
        raise FednasError(
            f"data set {source.data.name} has pixels that are not whole numbers from 0 to 255",
            hint="leave out --input uint8, or give the images as the camera gives them",
        )


def require_images(data: str | None, precisions: Sequence[Precision], max_accuracy_drop: float | None) -> None:
    """Raise `FednasError` where ``--data`` names no data set, or is ``none`` and something needs images.

    A limit of 100 % is taken for a slip, since every file keeps to it.
    """
    if max_accuracy_drop == 1.0:
        raise FednasError(
            "--max-accuracy-drop is 100 %, which every file keeps to", hint="write 1% or 0.01 for one per cent"
        )
    if data is None or parse_data_spec(data).kind is not DataKind.NONE:
        return
    if max_accuracy_drop is not None:
        raise FednasError("--max-accuracy-drop needs labelled images, and --data none gives none", hint="give --data")
    if "int8" in precisions:
        raise FednasError(
            "int8 is calibrated on training images, and --data none gives none",
            hint="give --data, or leave int8 out of --precision",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
