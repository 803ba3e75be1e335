"""The lines on how a table was measured, from tables of boards that we do not have."""

import msgspec
import pytest

from fednas.latency_tables import Energy, LatencyTable, Machine, table_from_json
from fednas.toolchain.cli.table_session import session_lines

MACHINE = {
    "cpu_model": "a board",
    "architecture": "aarch64",
    "operating_system": "Linux 5",
    "cores": 6,
    "affinity": [0, 1, 2, 3, 5],
    "python_version": "3.10",
    "numpy_version": "2.0",
}
SESSION = {
    "plan": "exhaustive",
    "seconds": 1,
    "readings": 9,
    "interrupted": 0,
    "reference_ms": 1,
    "reference_p10_ms": 1,
    "reference_p90_ms": 1,
    "drift_low": 1,
    "drift_high": 1,
    "halves_ratio": 1,
    "load_before": 0,
    "load_after": 0,
}
ENTRY = {
    "kind": "stem",
    "in_channels": 3,
    "mid_channels": 0,
    "out_channels": 8,
    "in_hw": 8,
    "stride": 1,
    "shortcut": "none",
    "median_ms": 1,
    "p10_ms": 1,
    "p90_ms": 1,
    "samples": 9,
    "spread": 0,
    "origin": "measured",
}


@pytest.fixture
def table() -> LatencyTable:
    """As an older version wrote it: without any of the later fields."""
    document = {
        "schema": 1,
        "device": "board",
        "runtime": "onnxruntime",
        "runtime_version": "1",
        "precision": "fp32",
        "batch": 1,
        "threads": 1,
        "date": "2026-01-01T00:00:00+00:00",
        "tool_version": "0.1.0",
        "machine": MACHINE,
        "session": SESSION,
        "entries": [ENTRY],
    }
    return table_from_json(msgspec.json.encode(document), "table")


def test_what_is_not_known_is_said(table: LatencyTable) -> None:
    assert dict(session_lines(table)) == {
        "state": ("cores 0-3,5 usable, power mode not readable, governor not readable, clocks not readable"),
        "meanwhile": "0 outliers, kept",
        "energy": "not on record: no power meter was found",
    }


def test_what_is_known_is_shown(table: LatencyTable) -> None:
    known = msgspec.structs.replace(
        table.machine,
        capacities=(446, 1024),
        power_mode="25W",
        governor="performance",
        locked=True,
        limit_mhz=1344.0,
        temperature_c=48.2,
    )
    session = msgspec.structs.replace(
        table.session,
        build_s=3.25,
        load_s=1.5,
        timer_share=0.001,
        others_cores=0.25,
        stolen=0.02,
        outliers=3,
        stops=1,
        clock_low_mhz=1200.0,
        clock_high_mhz=1344.0,
        hottest_c=71.0,
    )
    energy = Energy(
        source="INA3221",
        rail="VDD_IN",
        busy_w=6.0,
        idle_w=4.0,
        busy_s=5.0,
        idle_s=5.0,
        inferences=500,
        millijoules=60.0,
        millijoules_above_idle=20.0,
    )
    after: Machine = msgspec.structs.replace(known, temperature_c=70.9)
    full = msgspec.structs.replace(table, machine=known, machine_after=after, session=session, energy=energy)
    assert dict(session_lines(full)) == {
        "state": (
            "cores 0-3,5 usable, of 2 kinds, power mode 25W, governor performance, clocks locked, "
            "limit 1344 MHz, 48 C, then 71 C"
        ),
        "meanwhile": (
            "others kept 0.25 cores busy, host took 2.0%, clock unsure of 0.1%, 1200 to 1344 MHz, "
            "up to 71 C, 3 outliers, kept, stood still 1 times"
        ),
        "loading": "3.2 s to make the models, 1.5 s to load and first run them",
        "energy": (
            "60 mJ for one call of the largest network (20 above idle); 6.00 W busy, 4.00 W idle, INA3221 VDD_IN"
        ),
    }
    assert table_from_json(full.to_json(), "table") == full
