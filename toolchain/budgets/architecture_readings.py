"""Readings of an architecture: counted from its blocks, latency predicted or estimated."""

from pathlib import Path

from fednas.common import ContractError, read_bytes
from fednas.toolchain.budgets.file import ArchitectureSubject, Budget
from fednas.toolchain.budgets.quantities import LATENCY, MACS, PARAMS
from fednas.toolchain.budgets.readings import Known, Missing, Readings, counted
from fednas.toolchain.budgets.verdict import Reading


def architecture_readings(subject: ArchitectureSubject, budget: Budget, profiles: Path | None) -> Readings:
    """What can be said before any export. Raises `FednasError` for files that do not hold or do not fit."""
    from fednas.latency_tables import require_fit
    from fednas.toolchain.latency import latency_model
    from fednas.toolchain.space import architecture_from_json, blocks_of, load_space
    from fednas.toolchain.space.cost import cost_of

    space = load_space(subject.space)
    content = read_bytes(subject.architecture, "architecture")
    arch = architecture_from_json(space, content, f"architecture {subject.architecture}")
    cost = cost_of(space, arch)
    readings: dict[str, Known | Missing] = {MACS.name: counted(cost.macs), PARAMS.name: counted(cost.params)}
    if any(limit.quantity is LATENCY for limit in budget.limits):
        model = latency_model(subject.device, subject.table, budget.precision, profiles)
        if model is None:
            raise ContractError("a latency limit without a latency model")
        blocks = blocks_of(space, arch)
        require_fit(model, precision=budget.precision, batch=1, specs=blocks)
        predicted = model.predict(blocks)
        reading = Reading(value=predicted.latency_ms, low=predicted.low_ms, high=predicted.high_ms)
        basis = "predicted" if predicted.kind == "measured" else "estimated"
        modelled = f"; {predicted.modelled:.0%} of it from modelled entries" if predicted.modelled else ""
        readings[LATENCY.name] = Known(reading, basis, f"{predicted.holds}{modelled}")
    return Readings(readings)
