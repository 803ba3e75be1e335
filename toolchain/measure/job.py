"""One measuring job, wherever it is done, and what comes back from there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fednas.latency_tables import Machine
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.plan import Plan
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
    space: SearchSpace | None = None
    """What the plan was made of, for the table to keep."""

    def digest(self, runtime_version: str, machine: Machine) -> str:
        """Digest of what must be equal for readings to count together."""
        parts = [
            *("+".join(spec.key for spec in specs) for specs in self.plan.candidates),
            f"{self.runtime} {self.precision} {self.threads} {self.batch} {self.seed}",
            f"{runtime_version} {machine.cpu_model} {machine.architecture} {machine.affinity}",
            f"{machine.power_mode} {machine.governor} {machine.locked} {machine.gpu}",
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
