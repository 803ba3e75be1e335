"""The files of one network: fp32 first, which is the source of the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import ContractError, FednasError
from fednas.export import (
    FP16_METHOD,
    INT8_METHOD,
    Calibration,
    CalibrationImages,
    Int8Graph,
    KeptLayer,
    MixedInt8,
    OnnxFile,
    Precision,
    choose_calibration_images,
    choose_float_layers,
    fold_preprocessing,
    fp16_from_onnx,
    held_out_images,
    kept_products,
    model_file_name,
    random_inputs,
)
from fednas.profiles import DeviceProfile
from fednas.toolchain.ship.source import Source

if TYPE_CHECKING:
    from fednas.toolchain.ship.job import ShipJob

RANDOM_CALIBRATION_INPUTS = 256
JUDGED_ON_RANDOM_INPUTS = "fp16: whether half precision overflows was judged on random inputs only, not on images."


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One file before it is proven."""

    precision: Precision
    onnx_file: OnnxFile
    kept_fp32: tuple[KeptLayer, ...] = ()
    calibration: Calibration | None = None
    mixed: MixedInt8 | None = None
    remarks: tuple[str, ...] = ()
    """What the report must say about how it was made."""

    @property
    def kept_products(self) -> frozenset[str]:
        """Convolutions and matrix products that stayed in fp32."""
        return kept_products(self.kept_fp32, self.mixed)


def require_possible(precisions: Sequence[Precision], devices: Sequence[DeviceProfile]) -> None:
    """Raise `FednasError` for a device that cannot run one of ``precisions``."""
    for device in devices:
        for precision in precisions:
            if precision not in device.precisions:
                raise FednasError(
                    f"{device.name} cannot run {precision}; it runs {', '.join(device.precisions)}",
                    hint="leave it out of --precision, or export for another device",
                )


def calibration_images(
    source: Source, precisions: Sequence[Precision], *, hold_out: bool = False
) -> CalibrationImages | None:
    """What lower precisions are calibrated on; None where only fp32 is asked for.

    ``hold_out``: whether validation images come along, on which layers can be chosen that stay in fp32.

    Raises `FednasError` where the training images cannot serve.
    """
    if set(precisions) == {"fp32"}:
        return None
    if source.data is not None:
        train = source.data.train
        prepare, validation = source.data.preprocessing.apply, source.data.validation
        chosen = choose_calibration_images(train.images, train.labels, prepare)
        return replace(
            chosen, held_out=held_out_images(validation.images, validation.labels, prepare) if hold_out else None
        )
    if "int8" in precisions:
        raise ContractError("int8 without images to calibrate it on")
    inputs = random_inputs(source.preprocessing.input_shape, RANDOM_CALIBRATION_INPUTS)
    return CalibrationImages(inputs=inputs, classes=0, seed=0, real=False)


def all_artefacts(
    fp32: OnnxFile, job: "ShipJob", profile: DeviceProfile, calibration: CalibrationImages | None
) -> list[Artefact]:
    """The fp32 file, and beside it those of every other precision asked for."""
    artefacts = [Artefact(precision="fp32", onnx_file=fp32)]
    if calibration is not None:
        for precision in job.shipped_precisions[1:]:
            target = fp32.path.with_name(model_file_name(precision))
            artefacts.append(_converted(fp32.path, target, precision, job, profile, calibration))
    if job.input_type == "float32":
        return artefacts
    # Last, because the others are made from the fp32 file.
    return [_reading_pixels(artefact) for artefact in artefacts]


def _reading_pixels(artefact: Artefact) -> Artefact:
    metadata = artefact.onnx_file.metadata
    if metadata is None:
        raise ContractError(f"{artefact.onnx_file.path} says nothing about its preprocessing")
    return replace(artefact, onnx_file=fold_preprocessing(artefact.onnx_file.path, metadata.preprocessing))


def _converted(
    source: Path,
    target: Path,
    precision: Precision,
    job: "ShipJob",
    profile: DeviceProfile,
    calibration: CalibrationImages,
) -> Artefact:
    if precision == "fp16":
        onnx_file, kept = fp16_from_onnx(source, target, calibration, keep_io_types=not job.fp16_io)
        return Artefact(
            precision=precision,
            onnx_file=onnx_file,
            kept_fp32=kept,
            calibration=calibration.record(FP16_METHOD),
            remarks=() if calibration.real else (JUDGED_ON_RANDOM_INPUTS,),
        )
    graph = Int8Graph(source, calibration, profile.runtime, target.parent)
    mixed, remarks = _mixed(graph, job, calibration)
    return Artefact(
        precision=precision,
        onnx_file=graph.write(target, mixed.kept if mixed else ()),
        calibration=calibration.record(INT8_METHOD),
        mixed=mixed,
        remarks=remarks,
    )


def _mixed(
    graph: Int8Graph, job: "ShipJob", calibration: CalibrationImages
) -> tuple[MixedInt8 | None, tuple[str, ...]]:
    """Layers to leave in fp32, if an accuracy budget asks for it, and what the report must say."""
    if job.max_accuracy_drop is None:
        return None, ()
    if calibration.held_out is None:
        return None, ("Mixed int8: there are too few validation images to choose layers on that would stay in fp32.",)
    mixed = choose_float_layers(graph, calibration.held_out, job.max_accuracy_drop)
    if mixed is None or mixed.kept:
        return mixed, ()
    return mixed, ("Mixed int8: no choice of layers left in fp32 met the accuracy limit, so the file is plain int8.",)


def stored_precision(precision: Precision, profile: DeviceProfile) -> Precision:
    """How the weights of a precision stand in its file, for the size budget."""
    # TensorRT gets float weights followed by their quantisation.
    return "fp32" if precision == "int8" and profile.runtime == "tensorrt" else precision
