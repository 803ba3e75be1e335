"""Which latency model answers for a device: a table measured on it, or an estimate that says it is one."""

from pathlib import Path

from fednas.common import ContractError, FednasError
from fednas.latency_tables import LatencyModel, MeasuredLatencyModel, contradictions, require_fit
from fednas.profiles import LOCAL, find_profile, this_machine


def latency_model(device: str | None, table: Path | None, precision: str, profiles: Path | None = None) -> LatencyModel:
    """The model of ``table`` if given, else an estimate for ``device``; one of them must be given.

    Raises `FednasError` for an unknown device, a broken table, or a table of another device or precision.
    """
    if table is None:
        if device is None:
            raise ContractError("a latency model needs a device or a table")
        from fednas.latency_tables.estimate import estimate_for

        return estimate_for(find_profile(device, profiles), precision)
    from fednas.latency_tables import load_latency_model

    model = load_latency_model(table)
    identity = model.identity
    if device is not None and find_profile(device, profiles).name != identity.device:
        raise FednasError(
            f"latency table {table} was measured on {identity.device!r}, not on {device!r}",
            hint=f"name the device {identity.device!r}, or give the table of {device!r}",
        )
    # Only who names the machine at hand claims that the table is of it.
    local = device is not None and identity.device == LOCAL
    if local and model.table.machine.cpu_model != (here := this_machine().model):
        raise FednasError(
            f"latency table {table} was measured on {model.table.machine.cpu_model}, but this machine is {here}",
            hint=f"profile this machine, or give the other one a profile of its own instead of {LOCAL!r}",
        )
    require_fit(model, precision=precision, batch=1, specs=())
    return model


def unfit_remarks(model: LatencyModel) -> tuple[str, ...]:
    """What was wrong when its table was measured, in sentences; of an estimate nothing."""
    remarks = model.table.session.remarks if isinstance(model, MeasuredLatencyModel) else ()
    return tuple(f"Latency table: the machine was not quite fit to measure: {remark}." for remark in remarks)


def doubts_about(model: LatencyModel) -> tuple[str, ...]:
    """Why a table that was given should not be relied on: an unfit machine, and what `table lint` calls an error.

    Only in the table's account of itself, which is quick to check; lint looks at the entries too.
    """
    if not isinstance(model, MeasuredLatencyModel):
        return ()
    wrong = (f"Latency table: {each.message} (`table lint` says more)." for each in contradictions(model.table))
    return (*unfit_remarks(model), *wrong)
