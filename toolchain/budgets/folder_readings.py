"""Readings of a shipped folder: from its manifest, after a look at the file that it describes."""

from typing import TYPE_CHECKING

from fednas.common import FednasError, sha256_of
from fednas.toolchain.budgets.file import Budget, FolderSubject
from fednas.toolchain.budgets.quantities import ACCURACY, LATENCY, MACS, PARAMS, SIZE
from fednas.toolchain.budgets.readings import Known, Missing, Readings, State, counted
from fednas.toolchain.budgets.verdict import Reading

if TYPE_CHECKING:
    from fednas.export import EngineLatency, Latency, Manifest, MeasuredLatency, Model


def folder_readings(subject: FolderSubject, budget: Budget) -> Readings:
    """What the folder says. Raises `FednasError` if it is no shipped folder or lacks the precision or the file."""
    from fednas.export import read_manifest, shipped_path

    manifest = read_manifest(subject.folder)
    model = _model(manifest, budget.precision, subject)
    path = shipped_path(subject.folder, model.file)
    described = next(file for file in manifest.files if file.name == model.file)
    readings = {
        LATENCY.name: _latency(manifest, model, budget),
        SIZE.name: counted(path.stat().st_size),
        MACS.name: counted(manifest.shipment.macs),
        PARAMS.name: counted(manifest.shipment.params),
        ACCURACY.name: _accuracy(model),
    }
    return Readings(readings, _state(manifest, model.file, sha256_of(path) == described.sha256))


def _model(manifest: "Manifest", precision: str, subject: FolderSubject) -> "Model":
    for model in manifest.models:
        if model.precision == precision:
            return model
    held = ", ".join(model.precision for model in manifest.models)
    raise FednasError(f"{subject.folder} holds no {precision} model (it holds {held})", hint="set precision to match")


def _state(manifest: "Manifest", file: str, unchanged: bool) -> State:
    if not unchanged:
        return State("changed", f"{file} is not the file that the manifest describes; export it again")
    if manifest.status == "rejected":
        return State("rejected", "the export was rejected: " + "; ".join(manifest.reasons))
    return State(manifest.status, "")


def _latency(manifest: "Manifest", model: "Model", budget: Budget) -> Known | Missing:
    """Of the model's own precision; that of another one says nothing about it."""
    shipment = manifest.shipment
    latency = shipment.latency
    if budget.latency != "measured":
        predicted = latency.predicted
        if predicted is not None and predicted.precision != model.precision:
            return Missing("predicted", f"the folder predicts {predicted.precision}, not {model.precision}")
        return _predicted(latency)
    engine = manifest.engine_latency(model)
    if engine is not None:
        return _measured(latency, engine)
    measured = latency.measured if model.precision == shipment.precision else model.measured
    if measured is None and (batches := manifest.engine_batches(model)):
        return _unmeasured(f"its engine was timed with batch {', '.join(map(str, batches))} only, not with one image")
    return _measured(latency, measured)


def _measured(latency: "Latency", measured: "MeasuredLatency | EngineLatency | None") -> Known | Missing:
    if measured is None:
        return _unmeasured(latency.not_measured_because or "the machine was not fit")
    reading = _reading("latency", measured.median_ms, measured.low_ms, measured.high_ms)
    return Known(reading, "measured", f"95 % interval of the median of {measured.runs} runs")


def _unmeasured(why: str) -> Missing:
    return Missing("measured", f'not measured: {why}; latency = "predicted" uses the prediction')


def _predicted(latency: "Latency") -> Known | Missing:
    predicted, table = latency.predicted, latency.table
    if predicted is None or table is None:
        return Missing("predicted", "the folder was exported without a latency prediction")
    reading = _reading("latency", predicted.latency_ms, predicted.low_ms, predicted.high_ms)
    if table.kind == "estimate":
        return Known(reading, "estimated", f"{predicted.coverage:.0%} of public measurements of other devices")
    modelled = f"; {predicted.modelled:.0%} of it from modelled entries" if predicted.modelled else ""
    return Known(reading, "predicted", f"{predicted.coverage:.0%} of networks{modelled}")


def _accuracy(model: "Model") -> Known | Missing:
    accuracy = model.evidence.artefact_accuracy
    if accuracy is None:
        return Missing("measured", "accuracy was not checked when the folder was exported (no data)")
    reading = _reading("accuracy", accuracy.share, accuracy.low, accuracy.high)
    return Known(reading, "measured", f"95 % interval of {accuracy.total} images")


def _reading(what: str, value: float, low: float, high: float) -> Reading:
    if not low <= value <= high:
        message = f"the manifest states a {what} of {value} outside of its own interval {low} to {high}"
        raise FednasError(message, hint="it was edited or damaged; export again")
    return Reading(value=value, low=low, high=high)
