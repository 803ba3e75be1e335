"""The error of a merged table: made anew from the networks that its parts kept, or none at all."""

import math
from collections.abc import Sequence

import msgspec

from fednas.latency_tables import BlockSpec, LatencyTable, MeasuredLatencyModel, NetworkReading
from fednas.toolchain.measure.calibration import (
    MeasuredNetwork,
    fit_calibration,
    interval_of,
    left_out_errors,
    report_of,
)

LEAST_CALIBRATION = 6
"""Networks: one more than the calibration has coefficients."""
LEAST_HELD_OUT = 4


def with_its_error(
    bare: LatencyTable, networks: Sequence[NetworkReading], parts: Sequence[LatencyTable], speed: float
) -> tuple[LatencyTable, str]:
    """The table with calibration, interval and report; or as it is, and why it states no error.

    Args:
        networks: of all parts, their blocks by place in ``bare``, at one speed.
        parts: the tables that were merged.
        speed: what the times of the second were divided by.
    """
    if why_not := _why_not(networks, parts):
        return bare, why_not
    specs = [tuple(bare.entries[place].spec for place in network.blocks) for network in networks]
    medians = {entry.spec: entry.median_ms for entry in bare.entries}
    calibration = [
        MeasuredNetwork(blocks, network.median_ms)
        for blocks, network in zip(specs, networks, strict=True)
        if network.role == "calibration"
    ]
    left_out = left_out_errors(medians, calibration)
    calibrated = msgspec.structs.replace(bare, calibration=fit_calibration(medians, calibration))
    predicted = _predicted(calibrated, networks, specs)
    held_out = [network for network in predicted if network.role == "held-out"]
    measured_ms, predicted_ms = [n.median_ms for n in held_out], [n.predicted_ms for n in held_out]
    errors = [math.log(p / m) for p, m in zip(predicted_ms, measured_ms, strict=True)]
    table = msgspec.structs.replace(
        calibrated,
        networks=predicted,
        interval=interval_of(left_out, errors, _machine_factor(parts, speed)),
        report=report_of(measured_ms, predicted_ms, left_out, _repeatability(parts)),
    )
    return table, ""


def _why_not(networks: Sequence[NetworkReading], parts: Sequence[LatencyTable]) -> str:
    if any(not part.networks or part.interval is None or part.report is None for part in parts):
        return "not both tables keep the networks that their error was measured on"
    held_out = sum(network.role == "held-out" for network in networks)
    if len(networks) - held_out < LEAST_CALIBRATION or held_out < LEAST_HELD_OUT:
        return f"only {held_out} networks are held out of both calibrations"
    return ""


def _predicted(
    table: LatencyTable, networks: Sequence[NetworkReading], specs: Sequence[tuple[BlockSpec, ...]]
) -> tuple[NetworkReading, ...]:
    model = MeasuredLatencyModel(table)
    return tuple(
        msgspec.structs.replace(network, predicted_ms=model.additive_terms(blocks).total_ms)
        for network, blocks in zip(networks, specs, strict=True)
    )


def _machine_factor(parts: Sequence[LatencyTable], speed: float) -> float:
    """What the machine wandered within a session or between them, whichever is more."""
    within = [part.interval.machine_factor for part in parts if part.interval is not None]
    return max(*within, speed, 1 / speed)


def _repeatability(parts: Sequence[LatencyTable]) -> float:
    """The worse of them: each was measured within its own session."""
    return max(part.report.repeatability_mape for part in parts if part.report is not None)
