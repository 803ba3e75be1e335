"""``profile --over kit:DIR``: a folder that measures on a board without network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import FednasError, format_bytes, unknown_name
from fednas.profiles import PRECISIONS, find_profile
from fednas.toolchain.cli.output import emit, note, progress_bar, warn
from fednas.toolchain.cli.parsing import space_from

if TYPE_CHECKING:
    from fednas.profiles import DeviceProfile
    from fednas.toolchain.measure.job import MeasuringJob
    from fednas.toolchain.space import SearchSpace

KIT_RUNTIMES = ("onnxruntime", "tensorrt", "trtexec")


@dataclass(frozen=True, slots=True, kw_only=True)
class KitOptions:
    """The options of `profile` that measuring on a board depends on, as they were given."""

    device: str
    space: Path | None
    supernet: Path | None
    runtime: str | None
    """None: what the device runs."""
    precision: str
    threads: int
    batch: int
    plan: str | None
    """None: what suits the runtime."""
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
    job = job_of(options, "a kit")
    # Heavy from here on: the checks above answer at once.
    from fednas.toolchain.measure.kit import write_kit

    with progress_bar("writing the kit") as progress:
        info = write_kit(job, Path(folder), progress=progress)
    size = format_bytes(info.size_bytes)
    document = {"kit": str(info.folder), "id": info.kit, "models": info.models, "size_bytes": info.size_bytes}
    emit(
        document,
        f"kit {info.folder}: {info.models} models, {size}, for {job.runtime} on {job.device}\n"
        "Copy it to the board and run `python3 measure.py` there; then, with the results.json that it writes,\n"
        f"  fednas-export profile import results.json --kit {info.folder}",
    )


def job_of(options: KitOptions, what: str) -> "MeasuringJob":
    """What these options ask a board to measure; says what building engines there means.

    ``what`` measures, for messages. Raises `FednasError` for a device, runtime, precision or plan that cannot be.
    """
    if options.precision not in PRECISIONS:
        raise unknown_name("precision", options.precision, PRECISIONS)
    target = find_profile(options.device, options.profiles)
    runtime = options.runtime or target.runtime
    if runtime not in KIT_RUNTIMES:
        raise unknown_name(f"runtime of {what}", runtime, KIT_RUNTIMES)
    space = space_from(options.space, options.supernet)
    return _job(options, target, runtime, space)


def _job(options: KitOptions, target: "DeviceProfile", runtime: str, space: "SearchSpace") -> "MeasuringJob":
    from fednas.toolchain.measure.here import require_precision
    from fednas.toolchain.measure.job import MeasuringJob
    from fednas.toolchain.measure.plan import plan_for
    from fednas.toolchain.measure.runtimes import find_runtime

    require_precision(target, options.precision)
    builds_engines = find_runtime(runtime).networks_only
    name = options.plan or ("network" if builds_engines else "exhaustive")
    job = MeasuringJob(
        device=target.name,
        plan=plan_for(name, space, seed=0, seconds=options.seconds, batch=options.batch),
        runtime=runtime,
        precision=options.precision,
        threads=options.threads,
        batch=options.batch,
        seconds=options.seconds,
        seed=0,
        space=space,
    )
    if builds_engines:
        _tell_engines(job, space, asked=options.plan is not None)
    return job


def _tell_engines(job: "MeasuringJob", space: "SearchSpace", *, asked: bool) -> None:
    """How many engines the plan makes a board build, beside the plan that was not taken."""
    from fednas.toolchain.measure.plan import plan_for

    other = "exhaustive" if job.plan.name == "network" else "network"
    engines, others = (
        len(set(plan.candidates))
        for plan in (job.plan, plan_for(other, space, seed=0, seconds=job.seconds, batch=job.batch))
    )
    text = (
        f"plan {job.plan.name}: with {job.runtime} the board builds an engine for each model before timing it, "
        f"{engines} of them: {engines / 60:.1f} hours if one takes a minute; they are kept for further runs there "
        f"(--plan {other}: {others})"
    )
    if asked and engines > others:
        warn(text)
    else:
        note(text)
