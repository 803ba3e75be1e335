"""The main job's options for TensorRT engines, and where they come to nothing."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import ExitCode, FednasError, make_folder, parse_bytes
from fednas.toolchain.cli.output import warn

if TYPE_CHECKING:
    from fednas.export import EngineOptions
    from fednas.profiles import DeviceProfile

_PARAMETERS = ("workspace", "optimization_level", "engine_batches", "timing_caches")


def engine_options(
    workspace: str | None, optimization_level: int, batches: str, timing_caches: Path | None
) -> "EngineOptions":
    """Raises `FednasError` for a value that cannot be."""
    from fednas.export import BatchRange, EngineOptions

    sizes = batches.split(",")
    if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
        raise FednasError(f"--engine-batches {batches!r} is not three whole numbers", hint="such as 1,1,8")
    smallest, tuned, largest = map(int, sizes)
    options = EngineOptions(
        optimization_level=optimization_level,
        batches=BatchRange(smallest=smallest, tuned=tuned, largest=largest),
        timing_caches=timing_caches,
    )
    return options if workspace is None else replace(options, workspace_bytes=parse_bytes(workspace, "--workspace"))


def require_tensorrt_device(given: Collection[str], devices: "Sequence[DeviceProfile]") -> None:
    """Raise `FednasError` where options for engines were given and no device runs any.

    Args:
        given: names of the parameters that stood on the command line.
        devices: what is exported for.
    """
    named = _named(given)
    if named and all(device.tensorrt is None for device in devices):
        raise FednasError(
            f"{named}: for TensorRT engines, and no --device runs any",
            hint="leave it out, or add a device such as jetson",
            exit_code=ExitCode.USAGE,
        )


def prepare_engines(given: Collection[str], options: "EngineOptions", devices: "Sequence[DeviceProfile]") -> None:
    """Make the folder of timing caches, if an engine is built here; else say that the options come to nothing."""
    named = _named(given)
    if not named:
        return
    from fednas.toolchain.ship.engine import builds_engine

    if not any(builds_engine(device) for device in devices):
        warn(f"{named}: without effect, since no engine is built on this machine; board_check.py has its own options")
    elif options.timing_caches is not None:
        make_folder(options.timing_caches, "folder of timing caches")


def _named(given: Collection[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in _PARAMETERS if name in given)
