"""From raw readings to a latency table that states its own error, wherever the readings were taken."""

import functools
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fednas.latency_tables import (
    LatencyTable,
    LayerUse,
    MeasuredLatencyModel,
    NetworkReading,
    Session,
)
from fednas.toolchain.measure.calibration import (
    MeasuredNetwork,
    interval_of,
    report_of,
)
from fednas.toolchain.measure.drift import REFERENCE
from fednas.toolchain.measure.fits import FITS, Fitted
from fednas.toolchain.measure.inside import sorted_by_block, with_layers
from fednas.toolchain.measure.job import Collected
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit.board.halves import halves_ratio
from fednas.toolchain.measure.layers import calibration_candidates
from fednas.toolchain.measure.levels import correct, levels_of, outliers
from fednas.toolchain.measure.plan import Specs
from fednas.toolchain.measure.unfit import interrupted_share, launch_bound, remarks_on

CURVE_POINTS = 100
"""Of the drift over the session, as the table keeps it."""

if TYPE_CHECKING:
    import numpy as np


class Analysis:
    """Corrected readings of one job, and everything that is read off them."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        plan = collected.job.plan
        candidates = plan.candidates
        self._corrected = correct(collected.readings, len(candidates))
        levels = levels_of(self._corrected, len(candidates))
        first = 1 + len(plan.blocks)
        self._blocks = dict(zip(plan.blocks, levels[1:first], strict=True))
        # The reference is both candidate 0 and a calibration network; either reading will do.
        self._networks = dict(zip(candidates[first:], levels[first:], strict=True))

    @property
    def repeatability(self) -> float:
        """Mean difference between two measurements of the held-out networks: two passes, or even and odd readings."""
        held_out = [self._networks[specs] for specs in self.collected.job.plan.held_out]
        return sum(abs(level.first_over_second - 1) for level in held_out) / len(held_out)

    @property
    def drift(self) -> tuple[float, float]:
        """5th and 95th percentile of the machine's slowness."""
        import numpy as np

        low, high = np.quantile(self._corrected.slowness, (0.05, 0.95))
        return float(low), float(high)

    @functools.cached_property
    def halves(self) -> float:
        """How slow the machine was in the second half of the session, over the first; as a kit's script has it."""
        return halves_ratio(self.collected.readings) or 1.0

    def _reference_ms(self) -> "np.ndarray[Any, Any]":
        import numpy as np

        return np.array([r.latency_ms for r in self.collected.readings if r.candidate == REFERENCE])

    def table(self, *, readings_sha256: str = "") -> LatencyTable:
        """The finished table, remarks included."""
        collected, job = self.collected, self.collected.job
        fitted, layers = self._fitted()
        bare = LatencyTable(
            device=job.device,
            runtime=job.runtime,
            runtime_version=collected.runtime_version,
            precision=job.precision,
            batch=job.batch,
            threads=job.threads,
            date=collected.date,
            tool_version=version("fednas-export"),
            machine=collected.before,
            machine_after=collected.after,
            session=self._session(readings_sha256),
            layers=layers,
            energy=collected.conditions.energy,
            calibration=fitted.calibration,
            space=None if job.space is None else job.space.as_record(),
            entries=fitted.entries,
        )
        return self._with_its_error(bare, fitted)

    def _fitted(self) -> tuple[Fitted, LayerUse | None]:
        """What the plan makes of the levels, and of layers where there are some of every calibration network."""
        job = self.collected.job
        networks = self.measured(job.plan.calibration)
        fitted = FITS[job.plan.name](job.plan, self._blocks, networks)
        read = {each.candidate: each.layers for each in self.collected.layers}
        places = calibration_candidates(job)
        if failed := self.collected.layers_failed:
            use = LayerUse(networks=len(networks), attributed=0.0, strangers=0, used=False, failed=failed)
            return fitted, use
        if not read or not read.keys() >= set(places):
            return fitted, None
        found = [sorted_by_block(each, read[place]) for each, place in zip(networks, places, strict=True)]
        return with_layers(job.plan, fitted, found)

    def _with_its_error(self, bare: LatencyTable, fitted: Fitted) -> LatencyTable:
        import msgspec

        networks = self._network_readings(bare)
        held_out = [network for network in networks if network.role == "held-out"]
        measured, predicted = [n.median_ms for n in held_out], [n.predicted_ms for n in held_out]
        errors = [math.log(p / m) for p, m in zip(predicted, measured, strict=True)]
        # Entries may be of launches rather than of work.
        remarks = (*bare.session.remarks, *launch_bound(bare))
        return msgspec.structs.replace(
            bare,
            session=msgspec.structs.replace(bare.session, remarks=remarks),
            interval=interval_of(fitted.left_out, errors, self._corrected.wander()),
            report=report_of(measured, predicted, fitted.left_out, self.repeatability),
            networks=networks,
        )

    def _network_readings(self, table: LatencyTable) -> tuple[NetworkReading, ...]:
        model = MeasuredLatencyModel(table)
        places = {entry.spec: place for place, entry in enumerate(table.entries)}
        plan = self.collected.job.plan
        roles = [("calibration", specs) for specs in plan.calibration] + [("held-out", s) for s in plan.held_out]
        return tuple(
            NetworkReading(
                role="calibration" if role == "calibration" else "held-out",
                blocks=tuple(places[spec] for spec in specs),
                median_ms=self._networks[specs].median_ms,
                p10_ms=self._networks[specs].p10_ms,
                p90_ms=self._networks[specs].p90_ms,
                samples=self._networks[specs].samples,
                predicted_ms=model.additive_terms(specs).total_ms,
            )
            for role, specs in roles
        )

    def measured(self, networks: Sequence[Specs]) -> list[MeasuredNetwork]:
        """These networks of the plan with their levels."""
        return [MeasuredNetwork(specs, self._networks[specs].median_ms) for specs in networks]

    def _session(self, readings_sha256: str) -> Session:
        import numpy as np

        collected, conditions = self.collected, self.collected.conditions
        low, high = self.drift
        p10, median, p90 = (float(value) for value in np.quantile(self._reference_ms(), (0.1, 0.5, 0.9)))
        parts = np.array_split(self._corrected.slowness, min(CURVE_POINTS, len(self._corrected.slowness)))
        return Session(
            plan=collected.job.plan.name,
            sittings=len(collected.each_sitting),
            seconds=round(_seconds(collected.readings), 2),
            readings=len(collected.readings),
            interrupted=round(interrupted_share(collected.readings), 4),
            reference_ms=median,
            reference_p10_ms=p10,
            reference_p90_ms=p90,
            drift_low=low,
            drift_high=high,
            halves_ratio=self.halves,
            load_before=round(collected.load_before, 2),
            load_after=round(collected.load_after, 2),
            build_s=_rounded(conditions.build_s),
            load_s=_rounded(conditions.load_s),
            timer_share=_rounded(conditions.timer_share),
            stops=conditions.stops,
            outliers=outliers(self._corrected),
            others_cores=_rounded(conditions.usage.others_cores),
            stolen=_rounded(conditions.usage.stolen),
            throttled=_rounded(conditions.usage.throttled),
            clock_low_mhz=conditions.clock_low_mhz,
            clock_high_mhz=conditions.clock_high_mhz,
            hottest_c=conditions.hottest_c,
            gpu_clock_low_mhz=conditions.gpu_low_mhz,
            gpu_clock_high_mhz=conditions.gpu_high_mhz,
            gpu_hottest_c=conditions.gpu_hottest_c,
            gpu_slowed_by=conditions.gpu_slowed_by,
            slowness=tuple(round(float(np.median(part)), 4) for part in parts),
            readings_sha256=readings_sha256,
            remarks=remarks_on(collected, repeatability=self.repeatability, drift=self.drift, halves=self.halves),
        )


def _seconds(readings: Sequence[Reading]) -> float:
    """Device time of all groups together."""
    last: dict[int, float] = {}
    for reading in readings:
        last[reading.group] = max(last.get(reading.group, 0.0), reading.elapsed_s)
    return sum(last.values())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
