"""``profile --over kit:DIR``: a folder that measures on a board without network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednas.common import FednasError, format_bytes, unknown_name
from fednas.profiles import PRECISIONS, find_profile
from fednas.toolchain.cli.output import emit, progress_bar
from fednas.toolchain.cli.parsing import space_from

KIT_RUNTIMES = ("onnxruntime", "tensorrt", "trtexec")


@dataclass(frozen=True, slots=True, kw_only=True)
class KitOptions:
    """The options of `profile` that a kit depends on, as they were given."""

    device: str
    space: Path | None
    supernet: Path | None
    runtime: str | None
    """None: what the device runs."""
    precision: str
    threads: int
    batch: int
    plan: str
    seconds: float
    profiles: Path | None


def write_kit_folder(options: KitOptions, folder: str, unused: Sequence[str]) -> None:
    """Write the kit and say what to do with it.

    Args:
        options: what to measure.
        folder: where the kit goes.
        unused: options that were given although they have no meaning here.
    """
    if unused:
        message = f"{' and '.join(unused)} cannot be given with --over kit:DIR"
        hint = "measure.py goes on by itself; `fednas-export profile import` takes --out and --accept-unfit"
        raise FednasError(message, hint=hint)
    if not folder:
        raise FednasError("--over kit: names no folder", hint="such as --over kit:./board-kit")
    if options.precision not in PRECISIONS:
        raise unknown_name("precision", options.precision, PRECISIONS)
    target = find_profile(options.device, options.profiles)
    runtime = options.runtime or target.runtime
    if runtime not in KIT_RUNTIMES:
        raise unknown_name("runtime of a kit", runtime, KIT_RUNTIMES)
    space = space_from(options.space, options.supernet)
    # Heavy from here on: the checks above answer at once.
    from fednas.toolchain.measure.here import require_precision
    from fednas.toolchain.measure.job import MeasuringJob
    from fednas.toolchain.measure.kit import write_kit
    from fednas.toolchain.measure.plan import plan_for

    require_precision(target, options.precision)
    job = MeasuringJob(
        device=target.name,
        plan=plan_for(options.plan, space, seed=0, seconds=options.seconds, batch=options.batch),
        runtime=runtime,
        precision=options.precision,
        threads=options.threads,
        batch=options.batch,
        seconds=options.seconds,
        seed=0,
        space=space,
    )
    with progress_bar("writing the kit") as progress:
        info = write_kit(job, Path(folder), progress=progress)
    size = format_bytes(info.size_bytes)
    document = {"kit": str(info.folder), "id": info.kit, "models": info.models, "size_bytes": info.size_bytes}
    emit(
        document,
        f"kit {info.folder}: {info.models} models, {size}, for {runtime} on {target.name}\n"
        "Copy it to the board and run `python3 measure.py` there; then, with the results.json that it writes,\n"
        f"  fednas-export profile import results.json --kit {info.folder}",
    )
