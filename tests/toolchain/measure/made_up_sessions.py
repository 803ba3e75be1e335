"""Sessions on a made-up device whose truth is known: what it takes, how noisy it is, how its speed wanders."""

import numpy as np

from fednas.latency_tables import Machine
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.counters import Usage
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.plan import Specs, plan_for
from fednas.toolchain.space import SearchSpace

BEFORE = Machine(
    cpu_model="a board",
    architecture="aarch64",
    operating_system="Linux 5",
    cores=4,
    affinity=(0, 1, 2, 3),
    governor="schedutil",
    power_mode="25W",
    limit_mhz=1344.0,
    max_mhz=1728.0,
    throttle_events=2,
    python_version="3.11",
    numpy_version="2.0",
)
QUIET = Conditions(timer_share=0.001, usage=Usage(others_cores=0.1, stolen=0.0, throttled=0.0))
ROUNDS = 12


def milliseconds(specs: Specs) -> float:
    """A fixed cost for each block and a speed; a network saves some of the fixed cost and pays for its weights."""
    work = sum(0.01 + spec.macs / 5e7 for spec in specs)
    return work if len(specs) == 1 else work - 0.004 * len(specs) + 1e-7 * sum(spec.weights for spec in specs)


def readings_in(space: SearchSpace) -> int:
    """How many readings `session` makes."""
    return ROUNDS * len(plan_for("exhaustive", space).candidates)


def session(
    space: SearchSpace,
    speed: np.ndarray | float = 1.0,
    *,
    flat: bool = False,
    noise: float = 0.003,
    quirk: float = 0.0,
    passes: int = 1,
    load: float = 0.0,
    seed: int = 0,
) -> Collected:
    """Interleaved readings.

    Args:
        speed: factor of the readings, one for all or one for each of them.
        flat: every block takes the same time, whatever it does.
        noise: standard deviation of the logarithm of a reading.
        quirk: standard deviation of what is peculiar to a network, which no table can know.
        passes: groups, in each of which everything but the reference is loaded anew.
        load: standard deviation of what a load makes of a candidate.
    """
    job = MeasuringJob(
        device="board",
        plan=plan_for("exhaustive", space, seed=seed),
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=1.0,
        seed=seed,
        space=space,
    )
    rng = np.random.default_rng(seed)
    count = len(job.plan.candidates)
    order = np.concatenate([rng.permutation(count) for _ in range(ROUNDS)])
    true = np.array([0.1 * len(specs) if flat else milliseconds(specs) for specs in job.plan.candidates])
    whole = np.array([len(specs) > 1 for specs in job.plan.candidates])
    true = true * np.exp(quirk * rng.standard_normal(count) * whole)
    taken = true[order] * speed * np.exp(noise * rng.standard_normal(len(order)))
    group = np.arange(len(order)) * passes // len(order)
    if load:
        of_load = load * rng.standard_normal((passes, count)) * (np.arange(count) > 0)
        taken = taken * np.exp(of_load[group, order])
    readings = [
        Reading(int(number), int(candidate), float(ms), 0.01 * i, False)
        for i, (number, candidate, ms) in enumerate(zip(group, order, taken, strict=True))
    ]
    return Collected(
        job=job,
        readings=readings,
        runtime_version="1",
        date="2026-01-01T00:00:00+00:00",
        before=BEFORE,
        after=BEFORE,
        load_before=0.5,
        load_after=1.5,
        conditions=QUIET,
    )
