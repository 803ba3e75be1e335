"""TensorRT through its own program trtexec: the engine is built once, each reading is one run of the program.

Tested against the command lines and the outputs that NVIDIA's sources and public logs show; never run on trtexec.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fednas.common import FednasError, read_text
from fednas.export import Precision
from fednas.export.board.trtexec import TRTEXEC_PLACE
from fednas.toolchain.measure.runtimes.base import (
    DeviceReading,
    DeviceTimedModel,
    LayerTime,
    LoadOrder,
    TimedModel,
    TimingRuntime,
)
from fednas.toolchain.measure.runtimes.engine_precision import precision_doubts, unknown_precision
from fednas.toolchain.measure.runtimes.onnx_input import onnx_model_for
from fednas.toolchain.measure.runtimes.trtexec_command import (
    BuildOrder,
    TrtexecVersion,
    build_command,
    profile_command,
    stated_shape,
    timing_command,
    version_of_banner,
)
from fednas.toolchain.measure.runtimes.trtexec_output import (
    TrtexecSummary,
    read_profile,
    read_times,
    require_passed,
    summary_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARIABLE = "TRTEXEC"
"""Environment variable with the path of the program, as in the board's own scripts."""
TIMEOUT_S = 3600
FEWEST_RUNS = 10
"""What trtexec runs at least, whatever it is asked for."""


class TrtexecModel(DeviceTimedModel):
    """An engine in a folder of its own; every reading starts trtexec, which warms up by itself."""

    def __init__(self, trtexec: str, version: TrtexecVersion, order: BuildOrder) -> None:
        super().__init__()
        self._trtexec, self._version, self._order = trtexec, version, order
        self.last_summary: TrtexecSummary | None = None
        """What the last reading printed."""
        output = run_trtexec(build_command(trtexec, version, order))
        require_passed(output, "building the engine")
        if not order.engine.is_file() or not order.engine.stat().st_size:
            raise FednasError("trtexec said that it passed, but wrote no engine", hint="is the disk full?")
        self.doubts = _doubts(order)

    def repetitions(self, reading_ms: float, probes: int = 1) -> int:
        """As for all models, but of one probe, which starts a program, and no fewer than trtexec runs anyway."""
        return max(FEWEST_RUNS, super().repetitions(reading_ms, probes))

    def layers(self, runs: int) -> tuple[LayerTime, ...]:
        """Time of every layer, from a run of its own."""
        engine, shape = self._order.engine, stated_shape(self._order)
        profile = engine.with_name("profile.json")
        command = profile_command(self._trtexec, self._version, engine, profile, runs=runs, shape=shape)
        require_passed(run_trtexec(command), "timing the layers")
        return read_profile(profile)

    def _read(self, times: int) -> DeviceReading:
        path = self._order.engine.with_name("times.json")
        path.unlink(missing_ok=True)
        output = run_trtexec(
            timing_command(
                self._trtexec, self._version, self._order.engine, path, runs=times, shape=stated_shape(self._order)
            )
        )
        self.last_summary = summary_of(output)
        runs = read_times(path)
        return DeviceReading(
            gpu_ms=statistics.median(run.gpu_ms for run in runs),
            enqueue_ms=statistics.median(run.enqueue_ms for run in runs),
        )

    def _last_output(self) -> "NDArray[np.float32]":
        raise FednasError("trtexec gives no output to compare", hint="use --runtime tensorrt to check the logits")

    def _release(self) -> None:
        shutil.rmtree(self._order.engine.parent, ignore_errors=True)


class Trtexec(TimingRuntime):
    """NVIDIA's own program of TensorRT 8.5 to 11, as one CUDA graph, without transfers of data."""

    name: ClassVar[str] = "trtexec"
    title: ClassVar[str] = "TensorRT, program trtexec"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8")
    on_gpu: ClassVar[bool] = True
    networks_only: ClassVar[bool] = True
    gives_layers: ClassVar[bool] = True
    evidence: ClassVar[str] = "tested against documented command lines and outputs of 8.6, 10 and 11; never run"

    def require(self) -> None:
        """Look for the program; whether it works shows when it is started."""
        find_trtexec()

    def version(self) -> str:
        """As the program says."""
        return str(_version(find_trtexec()))

    def _load(self, order: LoadOrder) -> TimedModel:
        return _built(order, one_stream=False)

    def _layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        with _built(order, one_stream=True) as model:
            return model.layers(runs)


def _built(order: LoadOrder, *, one_stream: bool) -> TrtexecModel:
    """The engine of the model, in a folder of its own."""
    proto = onnx_model_for(order.model, order.input_shape)
    trtexec = find_trtexec()
    version = _version(trtexec)
    folder = Path(tempfile.mkdtemp(prefix="fednas-trtexec-"))
    try:
        onnx_path = folder / "model.onnx"
        onnx_path.write_bytes(proto.SerializeToString())
        first = proto.graph.input[0]
        build = BuildOrder(
            onnx=onnx_path,
            engine=folder / "model.plan",
            precision=order.precision,
            input_name=first.name,
            input_shape=order.input_shape,
            dynamic_batch=not first.type.tensor_type.shape.dim[0].HasField("dim_value"),
            timing_cache=None if order.cache is None else order.cache / "trtexec.timing",
            layer_info=folder / "layers.json",
            one_stream=one_stream,
        )
        return TrtexecModel(trtexec, version, build)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _doubts(order: BuildOrder) -> tuple[str, ...]:
    if order.layer_info is None or not order.layer_info.is_file():
        return unknown_precision(order.precision)
    return precision_doubts(read_text(order.layer_info, "layer information"), order.precision)


def find_trtexec() -> str:
    """Path of the program: of the variable ``TRTEXEC``, in PATH, or where JetPack puts it; raises `FednasError`."""
    given = os.environ.get(VARIABLE)
    if given:
        if not os.access(given, os.X_OK):
            raise FednasError(f"{VARIABLE} is {given}, which is no program", hint=f"mend or unset {VARIABLE}")
        return given
    found = shutil.which("trtexec") or (TRTEXEC_PLACE if os.access(TRTEXEC_PLACE, os.X_OK) else None)
    if found is None:
        raise FednasError(
            f"trtexec is neither in PATH nor at {TRTEXEC_PLACE}",
            hint=f"install TensorRT (on Jetson: apt install tensorrt) or set {VARIABLE}",
        )
    return found


def run_trtexec(command: list[str]) -> str:
    """Everything it prints; raises `FednasError` if it cannot be started or does not end."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise FednasError(f"trtexec did not end within {TIMEOUT_S} s", hint="try a smaller network") from err
    except OSError as err:
        raise FednasError(f"{command[0]} cannot be started: {err.strerror or err}", hint=f"set {VARIABLE}") from err
    return done.stdout


def _version(trtexec: str) -> TrtexecVersion:
    return version_of_banner(run_trtexec([trtexec, "--help"]))
