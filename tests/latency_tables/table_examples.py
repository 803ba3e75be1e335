"""Small tables for tests, made by hand."""

from dataclasses import replace
from typing import Any

from fednas.latency_tables import (
    BlockKind,
    BlockSpec,
    Calibration,
    Interval,
    LatencyTable,
    Machine,
    NetworkReading,
    Report,
    Session,
    Shortcut,
    Source,
    TableEntry,
)

STEM = BlockSpec(kind=BlockKind.STEM, in_channels=3, mid_channels=0, out_channels=8, in_hw=4)
BODY = BlockSpec(
    kind=BlockKind.RESIDUAL,
    in_channels=8,
    mid_channels=8,
    out_channels=16,
    in_hw=4,
    stride=2,
    shortcut=Shortcut.PROJECTION,
)
HEAD = BlockSpec(kind=BlockKind.HEAD, in_channels=16, mid_channels=0, out_channels=10, in_hw=2)
NETWORK = (STEM, BODY, HEAD)
REPORT = Report(
    subnets=20,
    mape=0.02,
    within_5=0.95,
    within_10=1.0,
    kendall_tau=0.97,
    interval_coverage=0.9,
    repeatability_mape=0.01,
)


def entry(spec: BlockSpec, median_ms: float, **changes: Any) -> TableEntry:
    """A measured entry with readings 10 % around its median."""
    fields: dict[str, Any] = {
        "median_ms": median_ms,
        "p10_ms": median_ms * 0.9,
        "p90_ms": median_ms * 1.1,
        "samples": 50,
        "spread": 0.01,
        "origin": "measured",
    }
    shape = {name: getattr(spec, name) for name in BlockSpec.__dataclass_fields__}
    return TableEntry(**(shape | fields | changes))


def make_table(*entries: TableEntry, **changes: Any) -> LatencyTable:
    """A table of these entries (by default of `NETWORK` at 1, 2 and 3 ms) without calibration."""
    fields: dict[str, Any] = {
        "device": "cpu",
        "runtime": "onnxruntime",
        "runtime_version": "1.0",
        "precision": "fp32",
        "batch": 1,
        "threads": 1,
        "date": "2026-01-02T03:04:05+00:00",
        "tool_version": "0.1.0",
        "machine": Machine(
            cpu_model="test processor",
            architecture="x86_64",
            operating_system="Linux",
            cores=2,
            affinity=(0, 1),
            python_version="3.11",
            numpy_version="2.0",
        ),
        "session": Session(
            plan="exhaustive",
            seconds=1.0,
            readings=150,
            interrupted=0.0,
            reference_ms=6.0,
            reference_p10_ms=5.9,
            reference_p90_ms=6.1,
            drift_low=0.9,
            drift_high=1.1,
            halves_ratio=1.0,
            load_before=0.0,
            load_after=0.0,
        ),
        "calibration": Calibration(),
        "interval": Interval(coverage=0.9, factor=1.25),
        "report": REPORT,
        "entries": entries or tuple(entry(spec, i + 1.0) for i, spec in enumerate(NETWORK)),
    }
    return LatencyTable(**(fields | changes))


def widths(spec: BlockSpec, middles: tuple[int, ...]) -> list[BlockSpec]:
    """The block with other middle widths: a family in which only the work differs."""
    return [replace(spec, mid_channels=middle) for middle in middles]


def network(role: Any, blocks: tuple[int, ...], measured_ms: float, predicted_ms: float) -> NetworkReading:
    """A whole network with readings 5 % around its median."""
    return NetworkReading(
        role=role,
        blocks=blocks,
        median_ms=measured_ms,
        p10_ms=measured_ms * 0.95,
        p90_ms=measured_ms * 1.05,
        samples=50,
        predicted_ms=predicted_ms,
    )


def source(name: str, machine: Machine) -> Source:
    """A source of a merged table, measured on this machine."""
    table = make_table()
    return Source(
        name=name,
        sha256="0" * 64,
        date=table.date,
        tool_version=table.tool_version,
        machine=machine,
        session=table.session,
        speed=1.0,
    )
