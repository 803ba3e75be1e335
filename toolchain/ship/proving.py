"""One file after another, proven against the source network and measured where this machine is the device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fednas.export import Model, OrtRunner, tolerance_for, verify_artefact
from fednas.profiles import DeviceProfile
from fednas.toolchain.ship.engine import build_engine_here
from fednas.toolchain.ship.precisions import Artefact
from fednas.toolchain.ship.readings import Reading, measure_here
from fednas.toolchain.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What every file is held against."""

    inputs: "NDArray[np.float32]"
    """(n, channels, height, width), preprocessed."""
    labels: "NDArray[np.int64] | None"
    """(n,); None for random inputs."""
    logits: "NDArray[np.float32]"
    """(n, classes), of the source network."""
    max_accuracy_drop: float | None


@dataclass(frozen=True, slots=True)
class Proven:
    """A file with all that was found out about it."""

    model: Model
    size_bytes: int
    reading: Reading
    remarks: tuple[str, ...]
    """What the report must say about it."""


def prove(artefact: Artefact, proof: Proof, profile: DeviceProfile, space: SearchSpace) -> Proven:
    """Run the file on the proof's inputs, build its engine and measure it, as far as this machine can."""
    onnx_file = artefact.onnx_file
    with OrtRunner(onnx_file.path) as runner:
        evidence = verify_artefact(
            runner,
            proof.inputs,
            proof.logits,
            tolerance=tolerance_for(artefact.precision),
            labels=proof.labels,
            max_accuracy_drop=proof.max_accuracy_drop,
        )
    remarks = build_engine_here(onnx_file.path, profile, artefact.precision)
    reading = measure_here(onnx_file, profile, space)
    model = Model.from_onnx(
        onnx_file,
        artefact.precision,
        evidence,
        runtime=profile.runtime,
        kept_fp32=artefact.kept_fp32,
        calibration=artefact.calibration,
        measured=reading.measured,
    )
    return Proven(model, onnx_file.size_bytes, reading, remarks)
