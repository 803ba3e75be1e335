"""What a kit brings home, read as what anybody may have edited."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import msgspec

from fednas.common import FednasError
from fednas.latency_tables import Energy, GpuState, Machine
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.counters import Usage
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.kit.board.on_tensorrt import PRECISION_UNSAID, UNNAMED_GPU
from fednas.toolchain.measure.kit.board.same import state_differences
from fednas.toolchain.measure.kit.decoding import decode_hostile, read_limited
from fednas.toolchain.measure.kit.document import KitDocument, check_document, digest_of
from fednas.toolchain.measure.kit.evidence import RUNTIMES, check_evidence
from fednas.toolchain.measure.kit.results_file import (
    LARGEST,
    SCHEMA,
    BoardGpu,
    BoardSitting,
    BoardState,
    MeasuredEnergy,
    Results,
)
from fednas.toolchain.measure.plan import PLANS
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.runtimes.engine_precision import unknown_precision
from fednas.toolchain.measure.sittings import Sitting, all_conditions

LARGEST_RESULTS = 256 * 2**20
"""Bytes, packed or unpacked."""
LONGER = 1.05
"""Times what the group took, and a second: both are read from one clock, so honest results keep far below."""
SHORTEST_MS = 1e-7
"""A tenth of a tick of the fastest clocks."""
LEAST_ROUNDS = {"onnxruntime": 9, "tensorrt": 9, "trtexec": 5}
"""A visit of trtexec holds hundreds of runs, so fewer of them will do."""


def read_results(path: Path, *, job: MeasuringJob | None = None, kit: KitDocument | None = None) -> Collected:
    """The readings in ``path`` (a ``results.json`` of a kit, packed with gzip or not), checked for everything.

    Args:
        path: the file.
        job: if given, the readings must be of exactly this job.
        kit: if given, they must be of this kit, down to the last byte of its models.

    Raises `FednasError` for anything that a kit's script does not write.
    """
    what = f"results {path}"
    results = results_from_json(read_limited(path, "results file", LARGEST_RESULTS), path)
    if kit is not None and kit.kit != results.kit:
        _refuse(what, f"belong to kit {results.kit[:12]}, not to {kit.kit[:12]}", "name the kit that was measured")
    if job is not None and replace(job, seconds=results.job.seconds) != results.job.job():
        _refuse(what, "belong to another job: another space, plan, runtime, batch or threads", "measure again")
    return _collected(results, what)


def results_from_json(content: bytes, path: Path) -> Results:
    """As `read_results`, from memory and without making a `Collected` of it."""
    what = f"results {path}"
    results, raw = decode_hostile(content, Results, f"results file {path}", SCHEMA, digest="sha256")
    if digest_of(raw, without="sha256") != results.sha256:
        _refuse(what, "were edited or damaged: their content does not have the digest that they claim")
    check_document(results.job, raw["job"], f"{what}, key job")
    if results.job.kit != results.kit:
        _refuse(what, "mix two kits: the job in them is not that of the kit that they name")
    if results.job.plan.name not in PLANS:
        _refuse(what, f"are of plan {results.job.plan.name!r}, which this version does not know")
    check_evidence(results, what)
    if results.least_rounds < LEAST_ROUNDS[results.runtime]:
        _refuse(what, f"were taken in only {results.least_rounds} rounds")
    _check_readings(results, what)
    return results


def _refuse(what: str, problem: str, hint: str = "copy the file from the board again, or measure again") -> NoReturn:
    raise FednasError(f"{what} {problem}", hint=hint)


def _check_readings(results: Results, what: str) -> None:
    """Every candidate often enough, in one group of each pass, with the reference; every number possible."""
    candidates = len(results.job.candidates)
    passes = results.job.plan.passes if results.runtime == "onnxruntime" else 1
    last: dict[int, float] = {}
    for number, (group, candidate, latency_ms, elapsed_s, _) in enumerate(results.readings, start=1):
        if not (0 <= candidate < candidates and 0 <= group < candidates * passes):
            _refuse(what, f"name a candidate or group that the job has not got (reading {number})")
        if not _possible(latency_ms, elapsed_s, last.get(group, 0.0)):
            _refuse(what, f"hold an impossible time: {latency_ms} ms (reading {number})")
        last[group] = elapsed_s
    _check_sums(results, last, what)
    counts = Counter((reading.group, reading.candidate) for reading in results.readings)
    _check_counts(counts, candidates, passes, what)
    times = Counter(reading.candidate for reading in results.readings)
    if (fewest := min(times.values())) < results.least_rounds:
        _refuse(what, f"hold only {fewest} readings of a candidate, of at least {results.least_rounds}")
    groups = {group for group, _ in counts}
    for number, row in enumerate(results.power, start=1):
        if row.group not in groups:
            _refuse(what, f"hold power of a group that the job has not got (row {number})")
    if results.samples and len(results.samples) != len(results.readings):
        _refuse(what, f"hold {len(results.samples)} sets of samples for {len(results.readings)} readings")


def _possible(latency_ms: float, elapsed_s: float, before_s: float) -> bool:
    """Whether a reading may end then, the one before having ended at ``before_s``; no infinity and no NaN may."""
    # A second of grace: a GPU has a clock of its own.
    return before_s <= elapsed_s <= LARGEST and SHORTEST_MS <= latency_ms <= 1e3 * (elapsed_s + 1.0)


def _check_sums(results: Results, last: dict[int, float], what: str) -> None:
    """Readings follow each other: by one clock they cannot take longer together than their group did."""
    if results.runtime != "onnxruntime":
        return
    sums: dict[int, float] = {}
    for reading in results.readings:
        sums[reading.group] = sums.get(reading.group, 0.0) + reading.latency_ms / 1e3
    for group, seconds in sums.items():
        if seconds > LONGER * last[group] + 1.0:
            _refuse(what, f"hold readings of {seconds:.3g} s in a group that took {last[group]:.3g} s")


def _check_counts(counts: dict[tuple[int, int], int], candidates: int, passes: int, what: str) -> None:
    groups = sorted({group for group, _ in counts})
    if groups != list(range(len(groups))) or not groups:
        _refuse(what, "lack a group of readings")
    if any((group, 0) not in counts for group in groups):
        _refuse(what, "lack the reference network in a group")
    seen = Counter(candidate for _, candidate in counts)
    if missing := sorted(set(range(candidates)) - set(seen)):
        _refuse(what, f"lack {len(missing)} of {candidates} candidates, candidate {missing[0]} for one")
    if odd := [candidate for candidate in range(1, candidates) if seen[candidate] != passes]:
        groups_of = f"{seen[odd[0]]} {'group' if seen[odd[0]] == 1 else 'groups'}"
        _refuse(what, f"hold candidate {odd[0]} in {groups_of}, where {passes} {'is' if passes == 1 else 'are'} due")


def _collected(results: Results, what: str) -> Collected:
    job = replace(results.job.job(), runtime=RUNTIMES[results.runtime], seconds=results.seconds)
    sittings = [_sitting(number, each, results) for number, each in enumerate(results.sittings, start=1)]
    first, last = results.sittings[0], results.sittings[-1]
    _require_one_state(results.sittings, what)
    after = last.after or last.before
    return Collected(
        job=job,
        readings=results.readings,
        runtime_version=_version(results),
        date=results.date,
        before=sittings[0].before,
        after=_machine(after, _gpu_name(results)),
        load_before=first.before.load,
        load_after=after.load,
        conditions=_conditions(results, all_conditions(sittings)),
        sittings=sittings,
    )


def _require_one_state(sittings: Sequence[BoardSitting], what: str) -> None:
    """By the rule after which the script does not go on: readings from before and after do not count together."""
    first = _plain_state(sittings[0])
    for number, sitting in enumerate(sittings, start=1):
        for found in state_differences(first, _plain_state(sitting))[:1]:
            change = f"{found.what} was {found.first}, then {found.then} (sitting {number})"
            _refuse(what, f"mix sittings of different boards or settings: {change}", "measure again")


def _plain_state(sitting: BoardSitting) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(sitting.before)
    return plain


def _sitting(number: int, found: BoardSitting, results: Results) -> Sitting:
    gpu, version, around = _gpu_name(results), _version(results), found.around
    usage = Usage(others_cores=around.others_cores, stolen=around.stolen, throttled=around.throttled)
    return Sitting(
        number=number,
        began=found.began,
        runtime_version=version,
        before=_machine(found.before, gpu),
        load_before=found.before.load,
        conditions=Conditions(
            load_s=around.load_s,
            timer_share=around.timer_share,
            usage=usage,
            gpu_slowed_by=tuple(dict.fromkeys(around.gpu_slowed_by)),
        ),
        runtime_version_after=None if found.after is None else version,
        after=None if found.after is None else _machine(found.after, gpu),
        load_after=None if found.after is None else found.after.load,
    )


def _gpu_name(results: Results) -> str | None:
    """As CUDA calls the GPU; None where that is not known, and a driver may say it."""
    name = results.settings.get("gpu")
    return None if name == UNNAMED_GPU else name


def _version(results: Results) -> str:
    """With what makes its latencies incomparable to those of others of that version."""
    graphs = results.settings.get("cuda graph", "on")
    return results.runtime_version + ("" if graphs == "on" else f" (CUDA graph {graphs})")


def _conditions(results: Results, all_sittings: Conditions) -> Conditions:
    moments = results.moments
    clocks = [moment.current_mhz for moment in moments if moment.current_mhz is not None]
    temperatures = [moment.temperature_c for moment in moments if moment.temperature_c is not None]
    temperatures += [degrees for row in results.power for degrees in row.zones_c.values()]
    gpu_mhz, gpu_c = _gpu_clocks(results), _gpu_temperatures(results)
    return replace(
        all_sittings,
        stops=sum(event.what == "suspended" for event in results.events),
        clock_low_mhz=min(clocks, default=None),
        clock_high_mhz=max(clocks, default=None),
        hottest_c=max(temperatures, default=None),
        gpu_low_mhz=min(gpu_mhz, default=None),
        gpu_high_mhz=max(gpu_mhz, default=None),
        gpu_hottest_c=max(gpu_c, default=None),
        energy=_energy(results.energy),
        doubts=_doubts(results),
    )


def _gpu_clocks(results: Results) -> list[float]:
    """Of the GPU between readings, where it measures: by nvidia-smi or the kernel's files, and by tegrastats."""
    if RUNTIMES[results.runtime] != "tensorrt":
        return []
    seen = [moment.gpu_mhz for moment in results.moments] + [row.gpu_mhz for row in results.power]
    return [mhz for mhz in seen if mhz]  # 0: switched off at that moment


def _gpu_temperatures(results: Results) -> list[float]:
    if RUNTIMES[results.runtime] != "tensorrt":
        return []
    zones = [(name, degrees) for row in results.power for name, degrees in row.zones_c.items()]
    seen = [moment.gpu_c for moment in results.moments if moment.gpu_c is not None]
    return seen + [degrees for name, degrees in zones if "gpu" in name.lower()]


def _doubts(results: Results) -> tuple[str, ...]:
    """What the script noted down about its engines, in the words of measuring on the spot."""
    if all(event.what != PRECISION_UNSAID for event in results.events):
        return ()
    return unknown_precision(find_runtime(RUNTIMES[results.runtime]).require_precision(results.job.precision))


def _energy(found: MeasuredEnergy | None) -> Energy | None:
    if found is None:
        return None
    source, _, rail = found.source.partition(" ")
    each_ms = 1e3 * found.busy_s / found.inferences
    return Energy(
        source=source,
        rail=rail or source,
        busy_w=found.busy_w,
        idle_w=found.idle_w,
        busy_s=found.busy_s,
        idle_s=found.idle_s,
        inferences=found.inferences,
        millijoules=found.busy_w * each_ms,
        millijoules_above_idle=max(0.0, found.busy_w - found.idle_w) * each_ms,
    )


def _machine(state: BoardState, gpu: str | None) -> Machine:
    return Machine(
        cpu_model=state.cpu_model,
        architecture=state.architecture,
        operating_system=state.operating_system,
        cores=state.cores,
        affinity=state.affinity,
        memory_bytes=state.memory_bytes,
        governor=state.governor,
        power_mode=state.power_mode,
        current_mhz=state.current_mhz,
        min_mhz=state.min_mhz,
        max_mhz=state.max_mhz,
        limit_mhz=state.limit_mhz,
        locked=_locked(state),
        temperature_c=state.temperature_c,
        throttle_events=state.throttled,
        gpu=gpu or getattr(state.gpu, "name", None),
        gpu_state=_gpu_state(state.gpu),
        python_version=state.python_version,
        numpy_version=state.numpy_version or "none",
    )


def _gpu_state(found: BoardGpu | None) -> GpuState | None:
    """The same without the name, which is the machine's."""
    if found is None:
        return None
    known = {name: getattr(found, name) for name in GpuState.__struct_fields__}
    return GpuState(**known)


def _locked(state: BoardState) -> bool | None:
    """Whether the clocks could not move."""
    if state.governor == "performance":
        return True
    if state.min_mhz is None or state.limit_mhz is None:
        return None
    return state.min_mhz == state.limit_mhz
