"""The own files of further runtimes, beside the ONNX files of a device that runs networks on its processor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fednas.common import FednasError
from fednas.export import (
    RUNTIME_PRECISIONS,
    ConvertedModel,
    InputType,
    Precision,
    convert_and_prove,
    model_file_name,
    require_runtime_takes,
)
from fednas.profiles import DeviceProfile
from fednas.toolchain.ship.precisions import Artefact

if TYPE_CHECKING:
    from fednas.toolchain.ship.proving import Proof


def runtimes_of(profile: DeviceProfile, asked: Sequence[str]) -> tuple[str, ...]:
    """The device's own runtime, where it has files of its own, then those asked for; each once."""
    own = [profile.runtime] if profile.runtime in RUNTIME_PRECISIONS else []
    return tuple(dict.fromkeys([*own, *asked]))


def require_runtimes(
    asked: Sequence[str], devices: Sequence[DeviceProfile], precisions: Sequence[Precision], input_type: InputType
) -> None:
    """Raise `FednasError` where a runtime cannot serve a device, or cannot take what is to be shipped."""
    for device in devices:
        for runtime in runtimes_of(device, asked):
            for precision in precisions:
                require_runtime_takes(runtime, precision)
            if device.processor != "cpu":
                raise FednasError(
                    f"{device.name} runs networks on its {device.processor}; files of {runtime} are for processors",
                    hint="leave out --runtime, or export for a device such as cpu",
                )
            if runtime == "ncnn" and input_type != "float32":
                raise FednasError(
                    f"ncnn cannot take files that read {input_type}",
                    hint="leave out --input, and normalise as preprocessing.json says",
                )


def converted_models(artefact: Artefact, runtimes: Sequence[str], proof: "Proof") -> tuple[ConvertedModel, ...]:
    """Write the files of each runtime beside the ONNX file and hold them against the same source."""
    path = artefact.onnx_file.path
    onnx_files = {artefact.precision: path, "fp32": path.with_name(model_file_name("fp32"))}
    image_shape, precision = artefact.onnx_file.image_shape, artefact.precision
    return tuple(
        convert_and_prove(
            runtime,
            precision,
            onnx_files,
            path.parent,
            image_shape,
            lambda runner: proof.of_runner(runner, precision),
        )
        for runtime in runtimes
    )
