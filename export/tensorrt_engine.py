"""A TensorRT engine built in place: one code path for TensorRT 8.6 to 11.4.

Precision: where networks can be strongly typed (10 and later) it is written in the ONNX file, and no flag may ask
for it; before that, flags allow it. Every version-dependent member is looked for, never inferred from a number.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednas.common import FednasError, read_bytes, sha256_of, unknown_name, write_atomic
from fednas.export.board_script import BatchRange
from fednas.export.onnx_file import BATCH_DIMENSION, OnnxFile, read_onnx_file

MIB = 2**20
_FLAGS: Mapping[str, tuple[str, ...]] = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Builder flags by precision, for the versions that need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine is built."""

    precision: str = "fp32"
    """What the ONNX file holds: ``fp32``, ``fp16`` or ``int8`` (with quantise and dequantise operators)."""
    batches: BatchRange = field(default_factory=BatchRange)
    workspace_bytes: int = 512 * MIB
    optimization_level: int = 3
    """0 (quick build) to 5 (best engine)."""
    timing_cache: Path | None = None
    """Read if it exists, written afterwards; belongs to one TensorRT version and one kind of GPU."""

    def __post_init__(self) -> None:
        if self.precision not in _FLAGS:
            raise unknown_name("precision", self.precision, _FLAGS)
        if self.workspace_bytes < MIB or self.optimization_level not in range(6):
            raise FednasError(
                f"workspace of {self.workspace_bytes} bytes or optimization level {self.optimization_level} is out of "
                "range (at least 1 MiB; level 0 to 5)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFile:
    """An engine that was built here; it runs only with this TensorRT version on this kind of GPU."""

    path: Path
    size_bytes: int
    sha256: str
    tensorrt_version: str
    strongly_typed: bool
    builder_flags: tuple[str, ...]
    """Precision flags that were set."""


def engine_from_onnx(onnx_path: Path, plan_path: Path, options: EngineOptions | None = None) -> EngineFile:
    """Build the engine of ``onnx_path`` and write it to ``plan_path``.

    Needs the ``tensorrt`` module and an NVIDIA GPU. Raises `FednasError` if the module is missing, the model
    cannot be parsed or the build fails, with what TensorRT said; then nothing is written.
    """
    options = options or EngineOptions()
    trt = _import_tensorrt()
    model = read_onnx_file(onnx_path)
    log = _error_log(trt)
    builder = _new_builder(trt, log)
    network, strongly_typed = _new_network(trt, builder)
    # The parser owns the weights of the network, so it must live until the engine is built.
    parser = _parsed(trt, network, log, onnx_path)
    config = builder.create_builder_config()
    _configure(trt, builder, config, options, model)
    flags = () if strongly_typed else _allow_precision(trt, config, options.precision)
    cache = _use_timing_cache(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        raise FednasError(
            f"TensorRT {trt.__version__} could not build an engine of {onnx_path}: {_said(log.errors)}",
            hint="try more workspace, or build_engine.sh on the board",
        )
    write_atomic(plan_path, bytes(plan))
    if cache is not None and options.timing_cache is not None:
        write_atomic(options.timing_cache, bytes(cache.serialize()))
    return EngineFile(
        path=plan_path,
        size_bytes=plan_path.stat().st_size,
        sha256=sha256_of(plan_path),
        tensorrt_version=str(trt.__version__),
        strongly_typed=strongly_typed,
        builder_flags=flags,
    )


def _import_tensorrt() -> Any:
    try:
        return importlib.import_module("tensorrt")
    except ImportError as err:
        raise FednasError(
            f"the Python module tensorrt cannot be imported ({err})",
            hint="pip install 'fednas-export[tensorrt]', or on Jetson apt install python3-libnvinfer; "
            "or run build_engine.sh on the board",
        ) from err


def _error_log(trt: Any) -> Any:
    class ErrorLog(trt.ILogger):  # type: ignore[misc]
        """Keeps what TensorRT says went wrong, for our own message."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return ErrorLog()


def _new_builder(trt: Any, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as err:
        # What the bindings raise when the library cannot start, for one because there is no GPU.
        raise FednasError(
            f"TensorRT {trt.__version__} cannot start here: {_said(log.errors)}",
            hint="it needs an NVIDIA GPU and a driver that fits; or run build_engine.sh on the board",
        ) from err


def _new_network(trt: Any, builder: Any) -> tuple[Any, bool]:
    wanted = trt.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(wanted, "EXPLICIT_BATCH"):  # 8.x needs it, 10.x ignores it, 11.x has not got it
        flags |= 1 << int(wanted.EXPLICIT_BATCH)
    strongly_typed = hasattr(wanted, "STRONGLY_TYPED")
    if strongly_typed:
        flags |= 1 << int(wanted.STRONGLY_TYPED)
    return builder.create_network(flags), strongly_typed


def _parsed(trt: Any, network: Any, log: Any, onnx_path: Path) -> Any:
    parser = trt.OnnxParser(network, log)
    if parser.parse(read_bytes(onnx_path, "model")):
        return parser
    errors = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
    raise FednasError(
        f"TensorRT {trt.__version__} cannot parse {onnx_path}: {_said(errors or log.errors)}",
        hint="export with the opset that this version reads",
    )


def _configure(trt: Any, builder: Any, config: Any, options: EngineOptions, model: OnnxFile) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if model.input_shape[0] != BATCH_DIMENSION:
        return
    profile = builder.create_optimization_profile()
    batches, rest = options.batches, model.input_shape[1:]
    shapes = [(batch, *rest) for batch in (batches.smallest, batches.tuned, batches.largest)]
    profile.set_shape(model.input_name, *shapes)
    config.add_optimization_profile(profile)


def _allow_precision(trt: Any, config: Any, precision: str) -> tuple[str, ...]:
    for name in _FLAGS[precision]:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return _FLAGS[precision]


def _use_timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(read_bytes(path, "timing cache") if path.exists() else b"")
    # A cache of another version or GPU is refused, not misused.
    if not config.set_timing_cache(cache, False):
        raise FednasError(
            f"timing cache {path} belongs to another TensorRT version or GPU", hint="delete it or name another file"
        )
    return config.get_timing_cache()


def _said(messages: list[str]) -> str:
    return "; ".join(" ".join(message.split()) for message in messages[:3]) or "it gave no reason"
