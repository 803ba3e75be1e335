"""A network in a runtime's own files, beside the ONNX file that it was converted from."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fednas.common import FednasError, unknown_name
from fednas.export.evidence import Precision
from fednas.export.ncnn_file import PARAM_SUFFIX, ncnn_from_onnx
from fednas.export.openvino_file import openvino_from_onnx
from fednas.export.runners import Runner
from fednas.export.runners_ncnn import NcnnRunner
from fednas.export.runners_openvino import OpenVinoRunner

RUNTIME_PRECISIONS: Mapping[str, tuple[Precision, ...]] = {
    # OpenVINO reads the ONNX file of each precision. On processors it computes fp16 files in fp32.
    "openvino": ("fp32", "fp16", "int8"),
    # ncnn has no operator for the quantise and dequantise nodes of our int8 files.
    "ncnn": ("fp32", "fp16"),
}
"""The runtimes whose own files we write, with what they take."""
NETWORK_SUFFIXES: Mapping[str, str] = {"openvino": ".xml", "ncnn": PARAM_SUFFIX}
"""How the file ends that names the network; its weights are called the same, but for ``.bin``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFiles:
    """What a conversion wrote."""

    runtime: str
    precision: Precision
    paths: tuple[Path, ...]
    """The first is the one that names the network; the other holds its weights and lies beside it."""


def require_runtime_takes(runtime: str, precision: str) -> None:
    """Raise `FednasError` if there is no such runtime, or it cannot take the precision."""
    if runtime not in RUNTIME_PRECISIONS:
        raise unknown_name("runtime", runtime, RUNTIME_PRECISIONS)
    if precision not in RUNTIME_PRECISIONS[runtime]:
        takes = ", ".join(RUNTIME_PRECISIONS[runtime])
        raise FednasError(
            f"{runtime} cannot take our {precision} files; it takes {takes}",
            hint="leave the precision out of --precision, or choose another --runtime",
        )


def require_runtime_installed(runtime: str) -> None:
    """Raise `FednasError` that names the pip command if what converts for ``runtime``, or runs it, is not here."""
    needed = ("ncnn", "pnnx") if runtime == "ncnn" else (runtime,)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise FednasError(
            f"files for {runtime} need {' and '.join(missing)}, not installed here",
            hint=f"pip install 'fednas-export[{runtime}]'",
        )


def runtime_files_from_onnx(
    runtime: str, precision: Precision, onnx_files: Mapping[Precision, Path], folder: Path
) -> RuntimeFiles:
    """Convert for ``runtime``; the files lie in ``folder`` and are named ``model.PRECISION.*``.

    Args:
        runtime: one of `RUNTIME_PRECISIONS`.
        precision: of the files to write.
        onnx_files: those that are there; ``fp32`` always is.
        folder: where to write.

    Raises:
        FednasError: the runtime cannot take the precision, is not installed, or refuses the network.
    """
    require_runtime_takes(runtime, precision)
    if runtime == "ncnn":
        # Its converter reads float32 graphs and halves the weights itself.
        paths = ncnn_from_onnx(onnx_files["fp32"], folder, precision)
    else:
        paths = openvino_from_onnx(onnx_files[precision], folder, precision)
    return RuntimeFiles(runtime=runtime, precision=precision, paths=paths)


def runner_for(runtime: str, path: Path, image_shape: tuple[int, int, int], threads: int = 1) -> Runner:
    """The runner of the files that `runtime_files_from_onnx` wrote; ``path`` is the first of them.

    Args:
        runtime: one of `RUNTIME_PRECISIONS`.
        path: ``model.PRECISION.xml`` or ``model.PRECISION.ncnn.param``.
        image_shape: (channels, height, width), which ncnn's files do not say.
        threads: of the runtime.
    """
    if runtime == "ncnn":
        return NcnnRunner(path, image_shape=image_shape, threads=threads)
    if runtime == "openvino":
        return OpenVinoRunner(path, threads=threads)
    raise unknown_name("runtime", runtime, RUNTIME_PRECISIONS)
