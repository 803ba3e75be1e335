"""OpenVINO on the processor: its own files from an ONNX file, and models compiled with nothing left to chance.

OpenVINO's module reports its own import over the network; `import_openvino` keeps it from doing so.
"""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from fednas.common import FednasError, import_extra, read_bytes, write_atomic
from fednas.export.evidence import Precision

EXTRA = "openvino"
TELEMETRY = "openvino_telemetry"
COMPUTING_LAYERS = ("Convolution", "FullyConnected", "MatMul", "Gemm")
"""OpenVINO's names of the layers that multiply."""
_AUTOMATIC_NAME = re.compile(r"([A-Za-z]+)_\d+")


def import_openvino() -> ModuleType:
    """The module; raises `FednasError` that names the pip command.

    Importing it would send an event to its makers and leave an identifier in the home folder, both through the package
    ``openvino_telemetry``. Without that package it goes on quietly, so it is hidden meanwhile.
    """
    if "openvino" in sys.modules:
        return import_extra("openvino", EXTRA, "running networks under OpenVINO")
    modules: dict[str, Any] = sys.modules
    there = modules.get(TELEMETRY)
    modules[TELEMETRY] = None
    try:
        return import_extra("openvino", EXTRA, "running networks under OpenVINO")
    finally:
        del modules[TELEMETRY]
        if there is not None:
            modules[TELEMETRY] = there


def openvino_version() -> str:
    """Such as ``2026.4.1``, without the build number."""
    return str(import_openvino().__version__).partition("-")[0]


def openvino_from_onnx(onnx_path: Path, folder: Path, precision: Precision) -> tuple[Path, Path]:
    """Write ``model.PRECISION.xml`` and ``.bin`` (OpenVINO IR) of ``onnx_path`` into ``folder``; return both.

    The precision is that of the ONNX file; nothing is rounded. The same file gives the same bytes.
    Raises `FednasError` if OpenVINO is not installed or cannot read the model.
    """
    openvino = import_openvino()
    model = read_openvino_model(onnx_path)
    _name_by_position(model)
    xml, weights = folder / f"model.{precision}.xml", folder / f"model.{precision}.bin"
    with tempfile.TemporaryDirectory(prefix="fednas-openvino-") as name:
        written = Path(name) / "model.xml"
        openvino.save_model(model, str(written), compress_to_fp16=False)
        write_atomic(weights, written.with_suffix(".bin").read_bytes())
        write_atomic(xml, written.read_bytes())
    return xml, weights


def read_openvino_model(source: Path | bytes) -> Any:
    """The network of an ONNX or IR file, or of ONNX in memory; raises `FednasError` if it cannot be read."""
    core = import_openvino().Core()
    name = _name(source)
    if isinstance(source, Path):
        read_bytes(source, "model")
    try:
        return core.read_model(source if isinstance(source, bytes) else str(source))
    except RuntimeError as err:  # the only class that OpenVINO raises
        raise FednasError(f"OpenVINO cannot read {name}: {_reason(err)}", hint="export it again") from err


def compiled_on_cpu(
    source: Path | bytes, *, threads: int, input_shape: tuple[int, ...] | None = None, profiled: bool = False
) -> Any:
    """The network, compiled for this processor: one stream, ``threads`` threads, no bf16, no cache.

    Threads are not pinned to cores, so that the affinity of the process holds.

    Args:
        source: ONNX or IR file, or ONNX in memory.
        threads: of the one stream.
        input_shape: fixed in the network before it is compiled; as the file says unless given.
        profiled: let it time its layers, which slows it down.

    Raises:
        FednasError: not installed, not readable, another shape than the network takes, or it ran elsewhere or in
            another precision than asked for.
    """
    openvino = import_openvino()
    model = read_openvino_model(source)
    if input_shape is not None:
        _fix_shape(model, input_shape)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
        "CACHE_DIR": "",
        "PERF_COUNT": profiled,
    }
    try:
        compiled = openvino.Core().compile_model(model, "CPU", settings)
    except RuntimeError as err:
        raise FednasError(f"OpenVINO cannot compile {_name(source)}: {_reason(err)}", hint="export it again") from err
    _require_as_asked(compiled, threads)
    return compiled


def computed_precisions(compiled: Any) -> Mapping[str, int]:
    """Layers that multiply, counted by the type that they compute in (``f32``, ``u8``, ``i8``)."""
    found = Counter[str]()
    for layer in compiled.get_runtime_model().get_ops():
        facts = layer.get_rt_info()
        if facts["layerType"].astype(str) in COMPUTING_LAYERS:
            found[facts["runtimePrecision"].astype(str)] += 1
    return dict(sorted(found.items()))


def _fix_shape(model: Any, input_shape: tuple[int, ...]) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise FednasError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each can be run",
            hint="use a model with one image input and one output",
        )
    wanted = model.inputs[0].partial_shape
    if not wanted.compatible(type(wanted)(list(input_shape))):
        raise FednasError(
            f"the model does not run on an input of shape {list(input_shape)}; it takes {wanted}",
            hint="give the shape that it was exported for",
        )
    model.reshape(list(input_shape))


def _require_as_asked(compiled: Any, threads: int) -> None:
    devices = list(compiled.get_property("EXECUTION_DEVICES"))
    if devices != ["CPU"]:
        raise FednasError(f"OpenVINO runs on {', '.join(devices)} although CPU was asked for")
    found = int(compiled.get_property("INFERENCE_NUM_THREADS"))
    if found != threads:
        raise FednasError(
            f"OpenVINO takes {found} threads although {threads} were asked for", hint="ask for as many as it takes"
        )
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if hint != "f32":
        raise FednasError(f"OpenVINO may compute in {hint} although f32 was asked for")
    rounded = {"bf16", "f16"} & set(computed_precisions(compiled))
    if rounded:
        raise FednasError(f"OpenVINO computes in {', '.join(sorted(rounded))} although fp32 was asked for")


def _name_by_position(model: Any) -> None:
    """Replace names that count what this process has built so far; they would differ from run to run."""
    for position, layer in enumerate(model.get_ordered_ops()):
        match = _AUTOMATIC_NAME.fullmatch(layer.get_friendly_name())
        if match and match[1] == layer.get_type_name():
            layer.set_friendly_name(f"{match[1]}_at_{position}")


def _name(source: Path | bytes) -> str:
    return "a model of ours" if isinstance(source, bytes) else f"model {source}"


def _reason(err: Exception) -> str:
    """The line that says something: the first ones name places in OpenVINO's sources."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API failed"))]
    return (telling or lines or ["it gave no reason"])[0]
