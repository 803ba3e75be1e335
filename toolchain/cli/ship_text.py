"""What the main job says of the folders that it wrote: as a table for people, and as a document for programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fednas.common import format_bytes, format_count, format_latency_ms
from fednas.toolchain.cli.output import as_json, table

if TYPE_CHECKING:
    from fednas.export import Budget, Candidate, ConvertedModel, Latency, Manifest, Model
    from fednas.toolchain.ship import ShippedDevice

INDEX_MARKDOWN = "index.md"
NOT_COMPARED = "NOT compared"


def shipped_document(shipped: "Sequence[ShippedDevice]") -> dict[str, object]:
    """What ``--json`` prints."""
    return {
        "devices": [
            {
                "device": found.name,
                "folder": str(found.folder),
                "exit_code": int(found.exit_code),
                "warnings": warnings_of(found),
                "manifest": as_json(found.manifest),
            }
            for found in shipped
        ]
    }


def shipped_text(shipped: "Sequence[ShippedDevice]") -> str:
    """A table for each device."""
    parts = [_device_text(found) for found in shipped]
    if (index := shipped[0].folder.parent / INDEX_MARKDOWN).exists():
        parts.append(f"index of all device folders: {index}")
    return "\n\n".join(parts)


def _device_text(found: "ShippedDevice") -> str:
    from fednas.export import Outcome

    manifest = found.manifest
    shipment, evidence = manifest.shipment, manifest.models[0].evidence
    genes = shipment.architecture
    rows = [
        ("status", "; ".join((str(Outcome.of(manifest.status, shipment, manifest.models)), *manifest.reasons))),
        ("architecture", f"depths {genes['d']}, widths {genes['w_indices']}, ratios {_ratios(genes['e'])}"),
        ("chosen", _chosen(found)),
        *_candidates_row(shipment.candidates),
        ("cost", f"{format_count(shipment.macs)} MACs, {format_count(shipment.params)} parameters"),
        ("torch accuracy", str(evidence.source_accuracy or "not checked: no data")),
        *(row for model in manifest.models for row in _model_rows(model, manifest)),
        *_latency_rows(shipment.latency, shipment.precision),
        *((f"budget {b.quantity}", _budget_text(b)) for b in shipment.budgets),
        ("folder", f"{found.folder} (start with report.md)"),
    ]
    return table(rows, ("", shipment.device.title))


def _model_rows(model: "Model", manifest: "Manifest") -> list[tuple[str, str]]:
    size = next(file.size_bytes for file in manifest.files if file.name == model.file)
    layers = f", layers: {model.census}" if model.census and model.precision != "fp32" else ""
    evidence, parity = model.evidence, model.evidence.parity
    rows = [
        (f"{model.precision} file", f"{model.file}, {format_bytes(size)}, ONNX opset {model.opset}{layers}"),
        (f"{model.precision} accuracy", str(evidence.artefact_accuracy or "not checked: no data")),
        (
            f"{model.precision} parity",
            f"largest logit error {parity.max_relative_error:.2g} of scale, "
            f"same class on {parity.top1_agreement:.2%} of {parity.images}"
            if parity.max_relative_error is not None
            else "FAILED: logits are not finite",
        ),
    ]
    drop = evidence.drop
    if drop is not None and (drop.limit is not None or model.precision != "fp32"):
        rows.append((f"{model.precision} accuracy drop", drop.with_verdict))
    rows += [_converted_row(model, converted) for converted in model.converted]
    rows += [(f"{model.precision} {each.runtime}", f"FAILED, not shipped: {each.reason}") for each in model.failed]
    if model.kept_fp32:
        rows.append((f"{model.precision} kept in fp32", f"{len(model.kept_fp32)} layers that could overflow"))
    if model.mixed is not None:
        kept, of_all = len(model.mixed.kept), len(model.mixed.sensitivity)
        rows.append((f"{model.precision} kept in fp32", f"{kept} of {of_all} layers, for the accuracy limit"))
    if model.engine is not None:
        engine = model.engine
        latency = format_latency_ms(engine.latency.median_ms) if engine.latency else "latency not measured"
        read = f"{latency}, layers: {engine.layers}"
        rows.append((f"{model.precision} engine", f"TensorRT {engine.tensorrt_version}, {read}"))
    if model.measured is not None and model.precision != manifest.shipment.precision:
        rows.append((f"{model.precision} latency", f"{format_latency_ms(model.measured.median_ms)} (measured)"))
    return rows


def _converted_row(model: "Model", converted: "ConvertedModel") -> tuple[str, str]:
    parity, reasons = converted.evidence.parity, model.reasons_of(converted)
    found = (
        f"FAILED: {'; '.join(reasons)}"
        if reasons
        else f"largest logit error {parity.max_relative_error:.2g} of scale, same class on {parity.top1_agreement:.2%}"
    )
    return f"{model.precision} {converted.runtime}", f"{', '.join(converted.files)}: {found}"


def _ratios(ratios: Sequence[float]) -> str:
    return "all " + str(ratios[0]) if len(set(ratios)) == 1 else str(list(ratios))


_KEPT: dict[str, str] = {
    "met": "the fittest of {} measured candidates that keeps to the budget",
    "cannot tell": "the fittest of {} measured candidates that may keep to the budget; none certainly does",
    "missed": "the fastest of {} measured candidates; none keeps to the budget",
}


def _chosen(found: "ShippedDevice") -> str:
    search = found.manifest.shipment.search
    if search is None:
        return "given, not searched"
    if search.gap is None:
        candidates = found.manifest.shipment.candidates
        kept = next((each.verdict for each in candidates if each.kept), "cannot tell")
        return _KEPT[kept].format(sum(each.measured is not None for each in candidates))
    proof = "proven to be the fittest" if search.status == "optimal" else f"at most {search.gap:.3%} below the fittest"
    within = "within the budgets" if found.manifest.shipment.budgets else "of the whole space (no budget was given)"
    return f"{proof} {within}"


def _candidates_row(candidates: "Sequence[Candidate]") -> list[tuple[str, str]]:
    """Whether the candidates asked for were compared; nothing where none were."""
    if not candidates:
        return []
    from fednas.export import told_apart, why_not_measured

    missing = [each for each in candidates if each.measured is None]
    if not missing:
        later = sum(each.corrected for each in candidates)
        corrected = f", {later} of them where the readings of the first put the budget" if later else ""
        text = f"{len(candidates)} measured{corrected}. {told_apart(candidates)} report.md lists them."
        return [("candidates", text)]
    why = why_not_measured(candidates)
    if len(missing) == len(candidates):
        text = f"{NOT_COMPARED}: none of {len(candidates)} was measured: {why}"
    else:
        kept = "; kept by prediction: those measured miss the budget" if any(each.kept for each in missing) else ""
        text = f"{len(missing)} of {len(candidates)} not measured and left out: {why}{kept}"
    return [("candidates", f"{text}. {told_apart(candidates)}".rstrip())]


def warnings_of(found: "ShippedDevice") -> list[str]:
    """What must be seen also where nobody reads the table: with --quiet or --json."""
    rows = _candidates_row(found.manifest.shipment.candidates)
    return [*found.doubts, *(f"--candidates: {text}" for _, text in rows if text.startswith(NOT_COMPARED))]


def _latency_rows(latency: "Latency", precision: str) -> list[tuple[str, str]]:
    rows = []
    if latency.predicted is not None:
        p = latency.predicted
        kind = "predicted" if latency.kind == "measured" else "ESTIMATED"
        interval = f"{p.coverage:.0%} interval {format_latency_ms(p.low_ms)} to {format_latency_ms(p.high_ms)}"
        other = "" if p.precision == precision else f"; of {p.precision}, none of {precision} is known"
        rows.append((f"{kind} latency", f"{format_latency_ms(p.latency_ms)} ({interval}{other})"))
    if latency.measured is not None:
        m = latency.measured
        span = f"95% interval {format_latency_ms(m.low_ms)} to {format_latency_ms(m.high_ms)}"
        rows.append(("measured latency", f"{format_latency_ms(m.median_ms)} ({span}; {m.threads} thread, {m.runtime})"))
        if m.state == "in turn" and m.alone_ms is not None:
            alone = f"{format_latency_ms(m.alone_ms)} call after call"
            rows.append(("", f"that is in turn with other networks, as tables are read; alone, {alone}"))
        from fednas.toolchain.ship.readings import outside_of_prediction

        if outside_of_prediction(latency):
            rows.append(("", "outside of the predicted interval; report.md says what may differ"))
    else:
        rows.append(("measured latency", f"none: {latency.not_measured_because}"))
    return rows


def _budget_text(budget: "Budget") -> str:
    show = {"ms": format_latency_ms, "bytes": format_bytes}.get(budget.unit, format_count)
    value = "unknown" if budget.value is None else show(budget.value)
    text = f"{budget.verdict}: {value} of {show(budget.limit)} ({budget.basis})"
    return f"{text}; a fitter network needs {budget.next_to_tell.needs_text}" if budget.next_to_tell else text
