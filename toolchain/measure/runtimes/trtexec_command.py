"""The command lines of trtexec: how each TensorRT from 8.5 to 11 is asked for the same thing.

What changed, as read in NVIDIA's sources (``sampleOptions.cpp`` of the releases):

- 8.6: ``--skipInference`` for ``--buildOnly``; ``--builderOptimizationLevel`` and ``--maxAuxStreams`` are new.
- 10.0: ``--stronglyTyped``, after which the types of the file hold and no precision is asked for.
- 11.0: always strongly typed, the flag and those of precisions are gone. A CUDA graph, spinning and no transfers of
  data are the default now, so a plain call measures something else than one of 10; asked for in words before.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednas.common import FednasError
from fednas.export import Precision
from fednas.export.board.trtexec import TrtVersion, precision_options

OLDEST = (8, 5)
_BANNER = re.compile(r"\[TensorRT v([0-9.]+)\]")


@dataclass(frozen=True, slots=True, order=True)
class TrtexecVersion:
    """Of TensorRT."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What engine is to be built."""

    onnx: Path
    engine: Path
    precision: Precision
    input_name: str
    input_shape: tuple[int, ...]
    """With the batch first."""
    dynamic_batch: bool
    """Whether the model leaves the batch open, so that a shape must be stated."""
    workspace_mib: int = 1024
    timing_cache: Path | None = None
    layer_info: Path | None = None
    """Where to write what each layer is, such as its precision; None: nowhere."""
    one_stream: bool = False
    """Nothing runs beside another: for a profile of single layers."""


def version_of_banner(output: str) -> TrtexecVersion:
    """The version that trtexec prints in its first line, such as ``[TensorRT v100300]``.

    Up to 9 the number is major, then minor, then two digits of patch (``8601``); later two digits each.
    Raises `FednasError` if there is none, or it is older than 8.5.
    """
    match = _BANNER.search(output)
    digits = match[1] if match else ""
    if "." in digits:
        parts = [int(part) for part in digits.split(".") if part][:3]
        parts += [0] * (3 - len(parts))
    elif len(digits) == 4:
        parts = [int(digits[0]), int(digits[1]), int(digits[2:])]
    elif len(digits) == 6:
        parts = [int(digits[:2]), int(digits[2:4]), int(digits[4:])]
    else:
        shown = next((line for line in output.splitlines() if line.strip()), "nothing")[:100]
        raise FednasError(f"trtexec does not say its version; it began with {shown!r}", hint="is it NVIDIA's trtexec?")
    version = TrtexecVersion(*parts)
    if (version.major, version.minor) < OLDEST:
        raise FednasError(f"trtexec is of TensorRT {version}; 8.5 and later are known", hint="update JetPack")
    return version


def build_command(trtexec: str, version: TrtexecVersion, order: BuildOrder) -> list[str]:
    """Build the engine, measure nothing."""
    command = [trtexec, f"--onnx={order.onnx}", f"--saveEngine={order.engine}"]
    command.append(f"--memPoolSize=workspace:{order.workspace_mib}")
    if order.timing_cache is not None:
        command.append(f"--timingCacheFile={order.timing_cache}")
    if order.dynamic_batch:
        shape = _shape(order.input_name, order.input_shape)
        command += [f"--{which}Shapes={shape}" for which in ("min", "opt", "max")]
    command += precision_options(TrtVersion(version.major, version.minor), order.precision)
    if order.layer_info is not None:
        # Written while building too, although nothing runs then.
        command += ["--profilingVerbosity=detailed", f"--exportLayerInfo={order.layer_info}"]
    if version < TrtexecVersion(8, 6):
        return [*command, "--buildOnly"]
    if order.one_stream:
        command.append("--maxAuxStreams=0")
    return [*command, "--builderOptimizationLevel=3", "--skipInference"]


def timing_command(
    trtexec: str,
    version: TrtexecVersion,
    engine: Path,
    times: Path,
    *,
    runs: int,
    seconds: float = 0.0,
    warm_up_ms: int = 200,
    shape: str = "",
) -> list[str]:
    """Time the engine as one CUDA graph, without transfers of data; the same in every version.

    Args:
        trtexec: the program.
        version: of it.
        engine: to time.
        times: file for the readings.
        runs: at least as many.
        seconds: at least as long.
        warm_up_ms: before them.
        shape: ``name:1x3x32x32`` where the engine leaves the batch open.
    """
    command = [trtexec, f"--loadEngine={engine}", f"--exportTimes={times}"]
    command += [f"--iterations={runs}", f"--duration={seconds:g}", f"--warmUp={warm_up_ms}"]
    command += [f"--shapes={shape}"] if shape else []
    return command + ([] if version.major >= 11 else ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"])


def profile_command(
    trtexec: str, version: TrtexecVersion, engine: Path, profile: Path, *, runs: int, shape: str = ""
) -> list[str]:
    """Time every layer of the engine, in a run of its own, for which a CUDA graph cannot serve."""
    command = [trtexec, f"--loadEngine={engine}", "--dumpProfile", f"--exportProfile={profile}"]
    command += [f"--iterations={runs}", "--duration=0", "--profilingVerbosity=detailed"]
    command += [f"--shapes={shape}"] if shape else []
    return [*command, "--noCudaGraph"] if version.major >= 11 else [*command, "--separateProfileRun"]


def stated_shape(order: BuildOrder) -> str:
    """What `timing_command` must be told of the shape; empty where the engine knows it."""
    return _shape(order.input_name, order.input_shape) if order.dynamic_batch else ""


def _shape(name: str, sizes: Sequence[int]) -> str:
    return f"{name}:{'x'.join(str(size) for size in sizes)}"
