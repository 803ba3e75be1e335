"""One measuring job, wherever it is done, and what comes back from there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fednas.latency_tables import Machine
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.journal import LayerReading, Reading
from fednas.toolchain.measure.plan import Plan
from fednas.toolchain.measure.sittings import Sitting
from fednas.toolchain.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringJob:
    """What is to be measured, and how."""

    device: str
    plan: Plan
    runtime: str
    precision: str
    threads: int
    batch: int
    seconds: float
    """Device time for the readings."""
    seed: int
    """Of weights, inputs and the order of the readings."""
    tails: bool = False
    """Whether to go on, for ten times ``seconds`` at most, until p10 and p90 of every candidate can be claimed."""
    space: SearchSpace | None = None
    """What the plan was made of, for the table to keep."""

    def digest(self, group_weights: int) -> str:
        """Digest of what must be equal for readings to count together, beside runtime and machine.

        ``group_weights``: how many are loaded at one time, which decides what is read together.
        """
        plan = self.plan
        parts = [
            *("+".join(spec.key for spec in specs) for specs in plan.candidates),
            f"{self.runtime} {self.precision} {self.threads} {self.batch} {self.seed} {plan.passes} {plan.visits}",
            f"groups of {group_weights}",
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The raw readings of a job, with what they were taken on."""

    job: MeasuringJob
    readings: Sequence[Reading]
    runtime_version: str
    date: str
    """When the readings were finished: UTC, ISO 8601."""
    before: Machine
    after: Machine
    load_before: float
    load_after: float
    conditions: Conditions = field(default_factory=Conditions)
    """Of all sittings: sums, and the worst of what does not add up."""
    sittings: Sequence[Sitting] = ()
    """All that took readings, in their order; none: one sitting, of which the fields above tell."""
    layers: Sequence[LayerReading] = ()
    """The runtime's own times of the layers of calibration networks."""
    layers_failed: str = ""
    """Why the runtime did not give them, if it was asked and failed."""

    @property
    def each_sitting(self) -> Sequence[Sitting]:
        """The sittings, at least one."""
        whole = Sitting(
            number=1,
            began=self.date,
            runtime_version=self.runtime_version,
            before=self.before,
            load_before=self.load_before,
            conditions=self.conditions,
            runtime_version_after=self.runtime_version,
            after=self.after,
            load_after=self.load_after,
        )
        return self.sittings or (whole,)
