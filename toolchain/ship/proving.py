"""One file after another, proven against the source network and measured where this machine is the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError
from fednas.export import (
    ArtefactEvidence,
    EngineOptions,
    EngineRecord,
    FailedArtefact,
    Model,
    OrtRunner,
    Precision,
    Runner,
    judge_logits,
    tolerance_for,
)
from fednas.profiles import DeviceProfile
from fednas.toolchain.ship.engine import engine_here
from fednas.toolchain.ship.precisions import Artefact
from fednas.toolchain.ship.readings import Reading, measure_here
from fednas.toolchain.ship.runtimes import converted_models
from fednas.toolchain.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


NOT_WANTED = "--profile-seconds 0 measures nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What every file is held against."""

    inputs: "NDArray[Any]"
    """(n, channels, height, width), as the file reads them."""
    labels: "NDArray[np.int64] | None"
    """(n,); None for random inputs."""
    logits: "NDArray[np.float32]"
    """(n, classes), of the source network."""
    max_accuracy_drop: float | None

    def of_logits(self, runtime: str, logits: "NDArray[np.float32]", precision: Precision) -> ArtefactEvidence:
        """What logits (n, classes) show that ``runtime`` gave for the inputs."""
        return judge_logits(
            runtime,
            logits,
            self.logits,
            tolerance=tolerance_for(precision),
            labels=self.labels,
            max_accuracy_drop=self.max_accuracy_drop,
        )

    def of_runner(self, runner: Runner, precision: Precision) -> ArtefactEvidence:
        """What running the inputs shows."""
        return self.of_logits(runner.name, runner.infer_all(self.inputs), precision)


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A file with all that was found out about it."""

    model: Model
    size_bytes: int
    reading: Reading
    remarks: tuple[str, ...]
    """What the report must say about it."""
    logits: "NDArray[np.float32]"
    """(n, classes), of the file."""


def prove(
    artefact: Artefact,
    proof: Proof,
    profile: DeviceProfile,
    space: SearchSpace,
    *,
    seconds: float,
    reading: Reading | None = None,
    runtimes: Sequence[str] = (),
    options: EngineOptions | None = None,
) -> Proven:
    """Run the file on the proof's inputs, build its engine and measure it, as far as this machine can.

    ``seconds``: spent on measuring its engine; 0: neither engine nor file is measured. ``reading``: of the file's
    latency, where it was measured already. ``runtimes``: for whose own files the network is converted too. ``options``:
    of the engine. What a runtime cannot make is recorded as failed, and the rest goes on.
    """
    onnx_file, precision = artefact.onnx_file, artefact.precision
    with OrtRunner(onnx_file.path) as runner:
        logits = runner.infer_all(proof.inputs)
        evidence = proof.of_logits(runner.name, logits, precision)
    engine, remarks, failed = _engine(artefact, proof, profile, options, seconds)
    converted, refused = converted_models(artefact, runtimes, proof)
    reading = reading or (measure_here(onnx_file, profile, space) if seconds > 0 else Reading(None, NOT_WANTED))
    model = Model.from_onnx(
        onnx_file,
        precision,
        evidence,
        runtime=profile.runtime,
        kept_fp32=artefact.kept_fp32,
        calibration=artefact.calibration,
        mixed=artefact.mixed,
        engine=engine,
        measured=reading.measured,
        not_measured_because=reading.why_not,
        converted=converted,
        failed=(*failed, *refused),
    )
    return Proven(model, onnx_file.size_bytes, reading, (*artefact.remarks, *remarks), logits)


def _engine(
    artefact: Artefact, proof: Proof, profile: DeviceProfile, options: EngineOptions | None, seconds: float
) -> tuple[EngineRecord | None, tuple[str, ...], tuple[FailedArtefact, ...]]:
    """The engine if one is built here, what the report must say, and the failure if the build failed."""
    path, precision = artefact.onnx_file.path, artefact.precision
    try:
        engine, remarks = engine_here(
            path,
            profile,
            precision,
            lambda runner: proof.of_runner(runner, precision),
            kept=artefact.kept_products,
            options=options,
            seconds=seconds,
        )
    except FednasError as err:
        return None, (), (FailedArtefact.of("tensorrt", err),)
    return engine, remarks, ()
