"""Profiling a search space on this machine: plan, measure, and make the table if the machine was fit to measure."""

from pathlib import Path

from fednas.common import FednasError, sha256_of
from fednas.latency_tables import LatencyTable
from fednas.profiles import DeviceProfile
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.here import require_cores, require_precision, require_this_machine
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.local import collect_here
from fednas.toolchain.measure.plan import Plan, plan_for
from fednas.toolchain.measure.rounds import ReportProgress
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.unfit import Remedy, UnfitMachine, remedy_for
from fednas.toolchain.space import SearchSpace

FEWEST = 2
"""Networks to calibrate, and to check with, that a table can be made of at all."""


def profile_space(
    space: SearchSpace,
    device: DeviceProfile,
    *,
    plan: str = "exhaustive",
    runtime: str = "onnxruntime",
    precision: str = "fp32",
    threads: int = 1,
    batch: int = 1,
    seconds: float = 10.0,
    tails: bool = False,
    partial: Path | None = None,
    resume: bool = False,
    accept_unfit: bool = False,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> LatencyTable:
    """Measure ``space`` on this machine and return its calibrated, self-checked table.

    Args:
        seconds: device time for the readings; loading the models comes on top. More seconds, smaller spread, and for
            the plans sparse and network more candidates.
        tails: go on, for ten times as long at most, until p10 and p90 of everything can be claimed.
        partial: file that keeps the raw readings; ``resume`` goes on from it.
        accept_unfit: return the table of a machine that is not fit to measure, with what was wrong in its remarks.

    Raises `FednasError` for a device that is not this machine, a precision that it or the runtime has not got, a plan
    that does not exist, partial results of another job, and, with exit code 5, a machine that is not fit to measure.
    """
    timing = find_runtime(runtime)
    require_this_machine(device, on_gpu=timing.on_gpu)
    require_cores(threads)
    timing.require_precision(precision)
    require_precision(device, precision)
    if timing.networks_only and plan != "network":
        raise FednasError(f"{runtime} times whole networks only, not single blocks", hint="use --plan network")
    job = MeasuringJob(
        device=device.name,
        plan=plan_for(plan, space, seed=seed, seconds=seconds, batch=batch),
        runtime=runtime,
        precision=precision,
        threads=threads,
        batch=batch,
        seconds=seconds,
        seed=seed,
        tails=tails,
        space=space,
    )
    collected = collect_here(job, partial=partial, resume=resume, progress=progress)
    return table_of(collected, accept_unfit=accept_unfit, readings=partial)


def table_of(collected: Collected, *, accept_unfit: bool, readings: Path | None = None) -> LatencyTable:
    """The table of these readings; raises `FednasError`, with exit code 5 if the machine was not fit to measure.

    ``readings`` is the file of raw readings, which the table names by its digest.
    """
    _require_whole(collected.job.plan)
    table = Analysis(collected).table(readings_sha256=sha256_of(readings) if readings else "")
    if table.session.remarks and not accept_unfit:
        remedy = remedy_for(collected, table)
        hint = f"{_advice(remedy, collected.job.plan.name)}; --accept-unfit writes the table all the same"
        raise UnfitMachine(table.session.remarks, remedy, hint)
    return table


def _require_whole(plan: Plan) -> None:
    """Raise `FednasError` for a plan that no table can be made of: one out of a file may be anything."""
    networks, priced = [*plan.calibration, *plan.held_out], set(plan.priced)
    named = {spec for specs in networks for spec in specs} | set(plan.blocks)
    if (
        min(len(plan.calibration), len(plan.held_out)) < FEWEST
        or not all(networks)
        or len(priced) < len(plan.priced)
        or not named <= priced
        or (plan.name == "exhaustive" and set(plan.blocks) < priced)
    ):
        raise FednasError(
            f"no table can be made of this {plan.name} plan: blocks or networks are missing from it",
            hint="measure a plan that this program made",
        )


def _advice(remedy: Remedy, plan: str) -> str:
    """What may help: the seconds decide what a modelled plan measures, so another number is another job."""
    if remedy is Remedy.ANEW:
        return "stop other work and start anew, without --resume: what is read stays as it is"
    if remedy is not Remedy.MORE:
        return remedy.value
    if plan == "exhaustive":
        return "stop other work, or give more --seconds with --resume"
    return "stop other work, or start anew, without --resume, with more --seconds"
