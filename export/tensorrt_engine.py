"""A TensorRT engine built in place; what is done with TensorRT itself stands in `fednas.export.board`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednas.common import FednasError, read_bytes, sha256_of, unknown_name, write_atomic
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.problem import BoardProblem
from fednas.export.board.timing_key import TimingKey, timing_cache_name
from fednas.export.board.trt_build import PRECISION_FLAGS, BuildOrder, build_engine, is_strongly_typed
from fednas.export.board_kit import BOARD_SCRIPT
from fednas.export.engine_options import BatchRange
from fednas.export.onnx_file import BATCH_DIMENSION, OnnxFile, read_onnx_file

MIB = 2**20
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine is built."""

    precision: str = "fp32"
    """What the ONNX file holds: ``fp32``, ``fp16`` or ``int8`` (with quantise and dequantise operators)."""
    batches: BatchRange = field(default_factory=BatchRange)
    workspace_bytes: int = 512 * MIB
    optimization_level: int = 3
    """0 (quick build, which ignores the timing cache) to 5 (best engine)."""
    one_stream: bool = False
    """Nothing runs beside another: for a profile of single layers."""
    timing_caches: Path | None = None
    """Folder of timing caches, in which each has a name made from all that its timings depend on (`TimingKey`)."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISION_FLAGS:
            raise unknown_name("precision", self.precision, PRECISION_FLAGS)
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


@contextmanager
def board_problems(where: str = "") -> Iterator[None]:
    """Turn a `BoardProblem` into the project's own error, with the way out that a user of this machine has."""
    try:
        yield
    except BoardProblem as err:
        hint = "; ".join(part for part in (err.hint, f"or run {BOARD_SCRIPT} on the board") if part)
        raise FednasError(f"{where}{err.message}", hint=hint) from err


def engine_from_onnx(onnx_path: Path, plan_path: Path, options: EngineOptions | None = None) -> EngineFile:
    """Build the engine of ``onnx_path`` and write it to ``plan_path``.

    Needs the ``tensorrt`` module and an NVIDIA GPU. Raises `FednasError` if the module is missing, the model
    cannot be parsed or the build fails, with what TensorRT said; then nothing is written.
    """
    options = options or EngineOptions()
    model = read_onnx_file(onnx_path)
    caches = _Caches(options)
    with board_problems():
        built = build_engine(_order(onnx_path, model, options), caches.read)
    write_atomic(plan_path, built.plan)
    if built.timing_cache is not None and caches.path is not None:
        write_atomic(caches.path, built.timing_cache)
    return EngineFile(
        path=plan_path,
        size_bytes=plan_path.stat().st_size,
        sha256=sha256_of(plan_path),
        tensorrt_version=built.tensorrt_version,
        strongly_typed=built.strongly_typed,
        builder_flags=built.flags,
    )


def _order(onnx_path: Path, model: OnnxFile, options: EngineOptions) -> BuildOrder:
    batches, rest = options.batches, model.image_shape
    dynamic = model.input_shape[0] == BATCH_DIMENSION
    return BuildOrder(
        onnx=read_bytes(onnx_path, "model"),
        name=str(onnx_path),
        input_name=model.input_name,
        shapes=((batches.smallest, *rest), (batches.tuned, *rest), (batches.largest, *rest)) if dynamic else None,
        precision=options.precision,
        workspace_bytes=options.workspace_bytes,
        level=options.optimization_level,
        one_stream=options.one_stream,
    )


class _Caches:
    """Finds the timing cache once the TensorRT module is known."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self.path: Path | None = None

    def read(self, trt: Any) -> bytes | None:
        """Its content; empty for a new one, None where none is wanted."""
        folder, options = self._options.timing_caches, self._options
        if folder is None:
            return None
        gpu = CudaRuntime().facts()
        key = TimingKey(
            tensorrt=str(trt.__version__),
            gpu=gpu.name,
            compute_capability=gpu.compute_capability,
            cuda=gpu.cuda,
            driver=gpu.driver,
            workspace_mib=options.workspace_bytes // MIB,
            level=options.optimization_level,
            precision=options.precision,
            strongly_typed=is_strongly_typed(trt),
        )
        self.path = folder / timing_cache_name(key)
        return read_bytes(self.path, "timing cache") if self.path.exists() else b""
