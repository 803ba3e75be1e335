"""Does a table still tell the truth? Fresh networks measured now, held against its own claim."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from fednas.common import FednasError, Progress
from fednas.latency_tables import Interval, LatencyTable, MeasuredLatencyModel, Report, machine_differences
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.calibration import MeasuredNetwork, report_of
from fednas.toolchain.measure.environment import read_machine
from fednas.toolchain.measure.here import require_cores
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.local import collect_here
from fednas.toolchain.measure.plan import Plan, Specs, fresh_networks, require_seconds
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.unfit import remarks_on
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture

Verdict = Literal["holds", "does not hold", "cannot tell"]
DOUBT = 0.05
"""Probability of calling a true claim false, for each of the two tests."""
LEAST_SUBNETS = 20
"""With fewer, a table whose intervals hold 70 % instead of 90 % passes more often than not."""
LEAST_MEASURABLE = 4
SCATTER_OF_MAPE = 0.75
"""Standard deviation over mean of absolute values of normal errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedNetwork:
    """A fresh network, measured and predicted."""

    measured_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float

    @property
    def inside(self) -> bool:
        """Whether the interval of the prediction holds what was measured."""
        return self.low_ms <= self.measured_ms <= self.high_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What was found, beside what was claimed."""

    found: Report
    """On the fresh networks; ``interval_coverage`` is the share of them inside the table's own intervals."""
    claimed: Report
    interval: Interval
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the verdict is not ``holds``."""
    speed_ratio: float
    """Measured over predicted in the middle: how much slower the machine is than in the table's session."""
    mape_at_same_speed: float
    """Mean error with that ratio divided out."""
    within_5_at_same_speed: float
    within_10_at_same_speed: float
    remarks: tuple[str, ...]
    """What was wrong with the machine during the validation."""
    date: str
    networks: tuple[CheckedNetwork, ...]


def require_same_machine(table: LatencyTable) -> tuple[str, ...]:
    """Raise `FednasError` unless this is the machine and runtime of the table; what differs in its state otherwise."""
    runtime = find_runtime(table.runtime)
    version = runtime.version()
    differences = machine_differences(table.machine, read_machine(on_gpu=runtime.on_gpu))
    found = [str(each) for each in differences if each.weight == "another" or each.what == "governor"]
    if version != table.runtime_version:
        found.append(f"runtime version: {table.runtime_version} and {version}")
    if found:
        raise FednasError(
            f"the table was measured on another machine or runtime than this one: {'; '.join(found)}",
            hint="validate it where it was measured, or profile this machine",
        )
    return tuple(str(each) for each in differences)


def validate(
    table: LatencyTable,
    space: SearchSpace,
    *,
    subnets: int,
    seconds: float,
    seed: int,
    progress: Progress | None = None,
) -> Validation:
    """Measure networks of ``space`` that the table never saw, interleaved and corrected for drift, and compare.

    Raises `FednasError` for another machine or runtime, a table without an error of its own or without some block of
    the space, and a space that has no fresh networks left.
    """
    model = MeasuredLatencyModel(table)
    if table.report is None or table.interval is None:
        raise FednasError("the table claims no error, so there is nothing to validate", hint="profile the device again")
    require_same_machine(table)
    require_seconds(seconds)
    require_cores(table.threads)
    find_runtime(table.runtime).require_precision(table.precision)
    networks = _fresh(table, space, subnets, seed)
    reference = blocks_of(space, largest_architecture(space))
    for specs in (reference, *networks):
        model.additive_terms(specs)  # names what is missing before anything is measured
    job = MeasuringJob(
        device=table.device,
        plan=Plan("validate", reference, (), (), tuple(networks), ()),
        runtime=table.runtime,
        precision=table.precision,
        threads=table.threads,
        batch=table.batch,
        seconds=seconds,
        seed=seed,
    )
    return judged(table, collect_here(job, progress=progress))


def judged(table: LatencyTable, collected: Collected) -> Validation:
    """The verdict on these readings of held-out networks; the table must claim an error."""
    analysis = Analysis(collected)
    measured = analysis.measured(collected.job.plan.held_out)
    remarks = remarks_on(collected, repeatability=analysis.repeatability, drift=analysis.drift, halves=analysis.halves)
    low, high = analysis.drift
    return verdict_on(
        table,
        measured,
        repeatability=analysis.repeatability,
        remarks=tuple(remarks),
        drift=max(high, 1 / low),
        date=collected.date,
    )


def verdict_on(
    table: LatencyTable,
    measured: Sequence[MeasuredNetwork],
    *,
    repeatability: float,
    remarks: tuple[str, ...] = (),
    drift: float = 1.0,
    date: str = "",
) -> Validation:
    """Hold measured networks against a table that claims an error.

    Args:
        repeatability: of these networks within their session.
        remarks: what was wrong with the machine.
        drift: factor by which its speed varied; an unfit machine is forgiven as much.
    """
    claimed, interval = table.report, table.interval
    if claimed is None or interval is None:
        raise FednasError("the table claims no error, so there is nothing to validate", hint="profile the device again")
    networks = _checked(table, measured)
    found = msgspec.structs.replace(
        report_of([n.measured_ms for n in networks], [n.predicted_ms for n in networks], [], repeatability),
        interval_coverage=sum(n.inside for n in networks) / len(networks),
    )
    logs = [math.log(n.measured_ms / n.predicted_ms) for n in networks]
    level = statistics.median(logs)
    rests = [abs(math.expm1(level - log)) for log in logs]
    broken = [*_coverage_broken(networks, interval, drift if remarks else 1.0), *_error_broken(rests, found, claimed)]
    # What such a table says of itself was read on that machine: even an interval that holds says little.
    unsure = [f"the table was made on a machine that was not fit to measure: {each}" for each in table.session.remarks]
    unsure += [f"the machine was not fit to measure: {remark}" for remark in remarks]
    if len(networks) < LEAST_SUBNETS:
        unsure.append(f"{len(networks)} networks are too few to tell (at least {LEAST_SUBNETS})")
    return Validation(
        found=found,
        claimed=claimed,
        interval=interval,
        verdict="does not hold" if broken else "cannot tell" if unsure else "holds",
        reasons=tuple(broken or unsure),
        speed_ratio=math.exp(level),
        mape_at_same_speed=statistics.fmean(rests),
        within_5_at_same_speed=sum(rest <= 0.05 for rest in rests) / len(rests),
        within_10_at_same_speed=sum(rest <= 0.10 for rest in rests) / len(rests),
        remarks=remarks,
        date=date,
        networks=networks,
    )


def _fresh(table: LatencyTable, space: SearchSpace, subnets: int, seed: int) -> list[Specs]:
    known = [tuple(table.entries[place].spec for place in network.blocks) for network in table.networks]
    wanted = max(subnets, LEAST_MEASURABLE)
    networks = fresh_networks(space, wanted, seed, [*known, blocks_of(space, largest_architecture(space))])
    if len(networks) < LEAST_MEASURABLE:
        raise FednasError(
            f"the search space has only {len(networks)} networks that the table was not made with",
            hint="a table of so small a space cannot be validated with fresh networks",
        )
    return networks


def _checked(table: LatencyTable, measured: Sequence[MeasuredNetwork]) -> tuple[CheckedNetwork, ...]:
    model = MeasuredLatencyModel(table)
    forecasts = [model.predict(network.specs) for network in measured]
    return tuple(
        CheckedNetwork(measured_ms=network.latency_ms, predicted_ms=f.latency_ms, low_ms=f.low_ms, high_ms=f.high_ms)
        for network, f in zip(measured, forecasts, strict=True)
    )


def _coverage_broken(networks: Sequence[CheckedNetwork], interval: Interval, forgiven: float) -> list[str]:
    """One-sided binomial test of the share of networks inside their intervals."""
    inside = sum(n.low_ms / forgiven <= n.measured_ms <= n.high_ms * forgiven for n in networks)
    if at_most(inside, len(networks), interval.coverage) >= DOUBT:
        return []
    return [f"intervals that claim {interval.coverage:.0%} hold {inside} of {len(networks)} networks"]


def _error_broken(rests: Sequence[float], found: Report, claimed: Report) -> list[str]:
    """One-sided test of the mean error, at the table's own speed, with what the machine repeats to forgiven."""
    now = statistics.fmean(rests)
    own_error = statistics.stdev(rests) / math.sqrt(len(rests)) if len(rests) > 1 else math.inf
    claims_error = SCATTER_OF_MAPE * claimed.mape / math.sqrt(claimed.subnets)
    limit = statistics.NormalDist().inv_cdf(1 - DOUBT) * math.hypot(own_error, claims_error)
    if now - claimed.mape - found.repeatability_mape <= limit:
        return []
    return [f"the mean error is {now:.1%} even at the same speed of the machine; {claimed.mape:.1%} is claimed"]


def at_most(hits: int, count: int, share: float) -> float:
    """Probability of at most ``hits`` of ``count`` where each has the probability ``share``."""
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1))
