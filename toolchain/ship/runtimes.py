"""The own files of further runtimes, beside the ONNX files of a device that runs networks on its processor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fednas.common import FednasError, unknown_name
from fednas.export import (
    RUNTIME_PRECISIONS,
    ConvertedModel,
    FailedArtefact,
    InputType,
    Model,
    Precision,
    convert_and_prove,
    model_file_name,
    require_runtime_installed,
    require_runtime_takes,
)
from fednas.profiles import DeviceProfile
from fednas.toolchain.ship.precisions import Artefact

if TYPE_CHECKING:
    from fednas.toolchain.ship.proving import Proof


READS_ONNX = "onnxruntime"


def runtimes_of(profile: DeviceProfile, asked: Sequence[str]) -> tuple[str, ...]:
    """The device's own runtime, where it has files of its own, then those asked for; each once.

    Whoever names ONNX Runtime gets what it reads anyway: the ONNX files.
    """
    own = [profile.runtime] if profile.runtime in RUNTIME_PRECISIONS else []
    return tuple(dict.fromkeys([*own, *(name for name in asked if name != READS_ONNX)]))


def require_runtimes(
    asked: Sequence[str], devices: Sequence[DeviceProfile], precisions: Sequence[Precision], input_type: InputType
) -> None:
    """Raise `FednasError` where a runtime is not here, cannot serve a device, or cannot take what is to be shipped."""
    for name in asked:
        _require_own_files(name)
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
            require_runtime_installed(runtime)


def _require_own_files(runtime: str) -> None:
    takes = (*RUNTIME_PRECISIONS, READS_ONNX)
    if runtime in takes:
        return
    from fednas.toolchain.measure.runtimes import runtime_names

    if runtime in runtime_names():
        raise FednasError(
            f"{runtime} has no files of its own to ship beside the ONNX files; --runtime takes {', '.join(takes)} here",
            hint=f"leave it out; `fednas-export profile --runtime {runtime}` measures with it",
        )
    raise unknown_name("runtime", runtime, takes)


def converted_models(
    artefact: Artefact, runtimes: Sequence[str], proof: "Proof"
) -> tuple[tuple[ConvertedModel, ...], tuple[FailedArtefact, ...]]:
    """Write the files of each runtime beside the ONNX file and hold them against the same source.

    A runtime that refuses the network is a failure to report; the others go on.
    """
    path = artefact.onnx_file.path
    onnx_files = {artefact.precision: path, "fp32": path.with_name(model_file_name("fp32"))}
    image_shape, precision = artefact.onnx_file.image_shape, artefact.precision
    made, failed = [], []
    for runtime in runtimes:
        try:
            made.append(
                convert_and_prove(
                    runtime,
                    precision,
                    onnx_files,
                    path.parent,
                    image_shape,
                    lambda runner: proof.of_runner(runner, precision),
                )
            )
        except FednasError as err:
            failed.append(FailedArtefact.of(runtime, err))
    return tuple(made), tuple(failed)


def require_something_made(models: Sequence[Model], asked: Sequence[str]) -> None:
    """Raise `FednasError` if own files of further runtimes were to be made, and none of any was.

    An engine of TensorRT is another thing: the board can build it from the ONNX file that ships.

    Args:
        models: with what was made and what failed.
        asked: runtimes that the user named.
    """
    failed = [each for model in models for each in model.failed if each.runtime in RUNTIME_PRECISIONS]
    if failed and not any(model.converted for model in models):
        first = failed[0]
        without = f", or leave out --runtime {first.runtime}" if first.runtime in asked else ""
        raise FednasError(
            f"nothing could be made for {first.runtime}, and no other runtime was asked for: {first.reason}",
            hint=f"nothing was written; mend what it says{without}",
        )
