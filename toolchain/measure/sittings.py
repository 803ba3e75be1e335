"""What every sitting of a run was like: `--resume` adds one, and all of them are judged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fednas.common import FednasError
from fednas.latency_tables import Machine, machine_differences
from fednas.toolchain.measure.conditions import Conditions
from fednas.toolchain.measure.counters import Usage
from fednas.toolchain.measure.environment import load_average, read_machine

if TYPE_CHECKING:
    from fednas.toolchain.measure.runtimes import TimingRuntime


class Sitting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="record", tag="sitting"):
    """One uninterrupted stretch of a run. The journal holds its beginning, and later records of it, the last counts."""

    number: int
    """From 1 on."""
    began: str
    """UTC, ISO 8601."""
    runtime_version: str
    before: Machine
    load_before: float
    conditions: Conditions
    """As far as they were seen: a killed sitting lacks its last seconds."""
    runtime_version_after: str | None = None
    """None, as all that follows, for a sitting that was killed."""
    after: Machine | None = None
    load_after: float | None = None


def begin_sitting(runtime: "TimingRuntime") -> Sitting:
    """The machine as it is now."""
    return Sitting(
        number=1,
        began=utc_now(),
        runtime_version=runtime.version(),
        before=read_machine(on_gpu=runtime.on_gpu),
        load_before=load_average(),
        conditions=Conditions(),
    )


def end_sitting(sitting: Sitting, runtime: "TimingRuntime", conditions: Conditions) -> Sitting:
    """The same sitting with how it went and with the machine as it is now."""
    return msgspec.structs.replace(
        sitting,
        conditions=conditions,
        runtime_version_after=runtime.version(),
        after=read_machine(on_gpu=runtime.on_gpu),
        load_after=load_average(),
    )


def require_same_state(earlier: Sequence[Sitting], now: Sitting, path: Path | None) -> None:
    """Refuse to mix readings of another runtime, machine or state of it with those to come.

    Raises `FednasError` that names each difference.
    """
    if not earlier:
        return
    first = earlier[0]
    found = [
        f"{each.what} was {each.first}, is {each.second}" for each in machine_differences(first.before, now.before)
    ]
    if first.runtime_version != now.runtime_version:
        found.insert(0, f"runtime version was {first.runtime_version}, is {now.runtime_version}")
    if found:
        raise FednasError(
            f"partial results {path} were taken in another state of the machine: {'; '.join(found)}",
            hint="put it back, or start again without --resume",
        )
    for sitting in earlier:
        require_one_version(sitting)


def require_one_version(sitting: Sitting) -> None:
    """Raise `FednasError` if the runtime was replaced while it measured: nobody knows which reading is of which."""
    after = sitting.runtime_version_after
    if after is not None and after != sitting.runtime_version:
        raise FednasError(
            f"the runtime changed from version {sitting.runtime_version} to {after} while it measured",
            hint="start again without --resume",
        )


def all_conditions(sittings: Sequence[Sitting]) -> Conditions:
    """Sums of what adds up, the worst of what does not, and the energy that was read last."""
    found = [sitting.conditions for sitting in sittings]
    if len(found) == 1:
        return found[0]
    usages = [each.usage for each in found]
    return replace(
        found[-1],
        build_s=_of(sum, [each.build_s for each in found]),
        load_s=_of(sum, [each.load_s for each in found]),
        timer_share=_of(max, [each.timer_share for each in found]),
        stops=sum(each.stops for each in found),
        usage=Usage(
            others_cores=_of(max, [each.others_cores for each in usages]),
            stolen=_of(max, [each.stolen for each in usages]),
            throttled=_of(max, [each.throttled for each in usages]),
        ),
        clock_low_mhz=_of(min, [each.clock_low_mhz for each in found]),
        clock_high_mhz=_of(max, [each.clock_high_mhz for each in found]),
        hottest_c=_of(max, [each.hottest_c for each in found]),
        gpu_low_mhz=_of(min, [each.gpu_low_mhz for each in found]),
        gpu_high_mhz=_of(max, [each.gpu_high_mhz for each in found]),
        gpu_hottest_c=_of(max, [each.gpu_hottest_c for each in found]),
        gpu_slowed_by=tuple(dict.fromkeys(cause for each in found for cause in each.gpu_slowed_by)),
        doubts=tuple(dict.fromkeys(doubt for each in found for doubt in each.doubts)),
        energy=next((each.energy for each in reversed(found) if each.energy is not None), None),
    )


def utc_now() -> str:
    """To the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _of(worst: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    """Of the sittings that know; None where none does."""
    known = [value for value in values if value is not None]
    return worst(known) if known else None
