"""The report of a shipped folder, for people (Markdown) and for programs (JSON)."""

from collections.abc import Sequence

import msgspec

from fednas.common import format_bytes, format_count, format_latency_ms
from fednas.export.board_record import BoardRecord
from fednas.export.evidence import Accuracy
from fednas.export.illustrations import Example, Frontier
from fednas.export.latency_record import Latency
from fednas.export.manifest import (
    Budget,
    Header,
    Model,
    Shipment,
    ShippedFile,
    Status,
    Verdict,
    engine_timed_with_one,
    judged_model,
)
from fednas.export.outcome import Outcome
from fednas.export.preprocessing import ModelInput
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table, markdown_of
from fednas.export.report_board import board_section, engines_section, latency_row
from fednas.export.report_comparisons import (
    candidates_section,
    disagreements_section,
    examples_section,
    frontier_section,
)
from fednas.export.report_page import html_of
from fednas.export.report_pictures import budget_bars, show_value
from fednas.export.report_precisions import mixed_section, precisions_section
from fednas.export.report_runtimes import failures_section, runtimes_section
from fednas.export.usage import usage_sections
from fednas.profiles import LOCAL

REPORT_FILE = "report.md"
REPORT_JSON_FILE = "report.json"
REPORT_HTML_FILE = "report.html"
ENGINE_GAP = "The TensorRT engine:"
"""How the gap begins that a board's result closes."""
NOTHING_LEFT = "Nothing is left that this tool could check here."


class Report(Header, frozen=True, kw_only=True):
    """``report.json``; ``report.md`` says the same in words, ``report.html`` with pictures."""

    headline: str
    shipment: Shipment
    models: tuple[Model, ...]
    vector_count: int
    not_verified: tuple[str, ...]
    """What nobody has checked, in sentences."""
    tool_version: str
    frontier: Frontier | None = None
    """Around the network shipped; null: none was computed."""
    class_names: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    """Held-out images; empty: no data was given."""
    board: BoardRecord | None = None
    """What was measured on the board and imported."""


def headline(status: Status, shipment: Shipment, models: Sequence[Model]) -> str:
    """The result in one sentence: status, verdicts on the budgets, and the network."""
    size = f"{format_count(shipment.macs)} MACs, {format_count(shipment.params)} parameters"
    what = f"{shipment.device.title}: {size}"
    judged = judged_model(shipment, models)
    if judged.precision != "fp32":
        what += f", {judged.precision}"
    accuracy = judged.evidence.artefact_accuracy
    if accuracy is not None:
        what += f", top-1 accuracy {accuracy.share:.2%}"
    if shipment.latency.predicted is not None:
        label = "predicted" if shipment.latency.kind == "measured" else "estimated"
        if shipment.latency.predicted.precision != shipment.precision:
            label += f" {shipment.latency.predicted.precision}"
        what += f", {label} latency {format_latency_ms(shipment.latency.predicted.latency_ms)}"
    if judged.engine is not None and judged.engine.latency is not None:
        what += f", engine {format_latency_ms(judged.engine.latency.median_ms)} measured"
    elif shipment.latency.measured is not None:
        what += f", {format_latency_ms(shipment.latency.measured.median_ms)} measured"
    return f"{Outcome.of(status, shipment, models)}: {what}"


def what_was_not_verified(shipment: Shipment, models: Sequence[Model], extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The gaps that follow from the facts, then those that the caller knows of."""
    gaps = []
    device = shipment.device
    if shipment.dataset is None:
        gaps.append("Accuracy: no data was given. Parity was checked on random inputs only.")
    if shipment.latency.kind == "estimate":
        gaps.append(f"Predicted latency on {device.title}: an estimate from datasheets, not from measurements.")
    if shipment.latency.kind == "none":
        gaps.append(f"Latency on {device.title}: no table was given, so nothing was predicted.")
    gaps += unmeasured_gap(shipment, models)
    if device.runtime == "tensorrt":
        if any(model.engine is None for model in models):
            gaps.append(
                f"{ENGINE_GAP} parity and accuracy in this report are those of the ONNX file under ONNX Runtime, not "
                "of an engine. board_check.py, which checks engines on the board, was only ever run against stand-ins."
            )
    elif shipment.latency.measured is None and device.name != LOCAL:
        gaps.append(f"{device.title} itself: the file was run on the machine that exported it, not there.")
    return (*gaps, *extra)


def unmeasured_gap(shipment: Shipment, models: Sequence[Model], board: BoardRecord | None = None) -> tuple[str, ...]:
    """The gap where the exporting machine could not measure and has no engine; a latency of the board's closes it."""
    judged = judged_model(shipment, models)
    if shipment.latency.measured or judged.engine or engine_timed_with_one(judged, board):
        return ()
    return (f"Latency of the exported file: not measured, because {shipment.latency.not_measured_because}.",)


def report_markdown(report: Report, files: Sequence[ShippedFile], preprocessing: ModelInput) -> str:
    """The whole report; readable on its own."""
    sections = report_sections(report, files, preprocessing)
    return markdown_of(report.shipment.device.title, report.headline, sections, _last(report))


def report_html(report: Report, files: Sequence[ShippedFile], preprocessing: ModelInput) -> str:
    """The same as one HTML page, with pictures."""
    sections = report_sections(report, files, preprocessing)
    tone = Outcome.of(report.status, report.shipment, report.models).tone
    return html_of(report.shipment.device.title, tone, report.headline, sections, _last(report))


def report_sections(report: Report, files: Sequence[ShippedFile], preprocessing: ModelInput) -> tuple[Section, ...]:
    """All sections in their order; None of a function: nothing to say."""
    shipment, models = report.shipment, report.models
    sections = (
        Section("Why it is not verified", (Bullets(report.reasons),)) if report.reasons else None,
        _chosen(shipment, judged_model(shipment, models)),
        _budgets(shipment.budgets, models),
        frontier_section(report.frontier, shipment.candidates, estimated=shipment.latency.kind == "estimate"),
        candidates_section(shipment.candidates),
        _latency(shipment.latency, _engine_latency(report)),
        _evidence(models, shipment),
        engines_section(models),
        board_section(report.board) if report.board else None,
        disagreements_section(models, report.class_names),
        examples_section(report.examples, judged_model(shipment, models).file),
        precisions_section(models, files) if len(models) > 1 else None,
        mixed_section(models),
        runtimes_section(models),
        failures_section(models),
        Section("Not verified", (Bullets(report.not_verified or (NOTHING_LEFT,)),)),
        *usage_sections(shipment, models, preprocessing),
        _files(files),
    )
    return tuple(section for section in sections if section is not None)


def _last(report: Report) -> str:
    return f"Made by fednas-export {report.tool_version}."


_KEPT: dict[Verdict, str] = {
    "met": "The fittest of the candidates below whose whole measured interval keeps to the latency budget.",
    "cannot tell": "No candidate below certainly keeps to the latency budget by measurement; this is the fittest of "
    "those that may.",
    "missed": "No candidate below keeps to the latency budget by measurement; this is the fastest.",
}


def _chosen(shipment: Shipment, model: Model) -> Section:
    search = shipment.search
    if search is None:
        why = "The architecture was given by the user; nothing was searched."
    elif search.status == "optimal":
        why = f"No architecture of the search space within the budgets has a higher fitness ({search.method}, proven)."
    elif shipment.candidates and search.gap is None:
        why = _KEPT[next((each.verdict for each in shipment.candidates if each.kept), "cannot tell")]
    else:
        bound = (
            "" if search.upper_bound is None else f" No architecture can exceed a fitness of {search.upper_bound:.6g}."
        )
        why = f"The best architecture that the search ({search.method}) found; not proven to be the best.{bound}"
    recalibrated = shipment.recalibration.images
    norms = f"recalibrated on {recalibrated} training images" if recalibrated else "left as the supernet has them"
    rows = (
        ("Architecture", f"`{msgspec.json.encode(shipment.architecture).decode()}`"),
        ("Fitness", "unknown" if shipment.fitness is None else f"{shipment.fitness:.6g}"),
        ("MACs", f"{shipment.macs:,}"),
        ("Parameters", f"{shipment.params:,}"),
        ("Peak activation memory", _memory(model)),
        ("Supernet", f"{shipment.supernet.name} (SHA-256 `{shipment.supernet.sha256}`)"),
        ("Batch norms", norms),
    )
    return Section("What was chosen, and why", (Paragraph(why), Table(("", ""), rows)))


def _memory(model: Model) -> str:
    if model.peak_activation_bytes is None:
        return "unknown"
    return f"{format_bytes(model.peak_activation_bytes)} for one image (`{model.file}`; computed from its graph)"


def _budgets(budgets: Sequence[Budget], models: Sequence[Model]) -> Section:
    if not budgets:
        drops = [model.evidence.drop for model in models]
        limited = any(drop is not None and drop.limit is not None for drop in drops)
        besides = ' The limit on lost accuracy stands under "Parity and accuracy".' if limited else ""
        return Section("Budgets", (Paragraph(f"None was asked for.{besides}"),))
    rows = tuple((b.verdict, b.quantity, _quantity(b, b.limit), _with_interval(b), b.basis) for b in budgets)
    table = Table(("Verdict", "Quantity", "At most", "Value", "Basis"), rows)
    steps = tuple(
        f"{b.quantity}: the next fitter network (fitness {step.fitness:.6g}) needs {step.needs_text}."
        for b in budgets
        if (step := b.next_to_tell) is not None
    )
    more = (Bullets(steps),) if steps else ()
    known = [budget for budget in budgets if budget.value is not None]
    return Section("Budgets", (table, *((budget_bars(known),) if known else ()), *more))


def _quantity(budget: Budget, value: float | None) -> str:
    if value is None:
        return "unknown"
    return show_value(budget.unit, value) if budget.unit else f"{value:,.0f}"


def _with_interval(budget: Budget) -> str:
    value = _quantity(budget, budget.value)
    if budget.low is None or budget.high is None:
        return value
    return f"{value} ({_quantity(budget, budget.low)} to {_quantity(budget, budget.high)})"


def _engine_latency(report: Report) -> tuple[tuple[str, str, str, str], ...]:
    """The row of the judged model's engine, if one was timed with one image."""
    engine = engine_timed_with_one(judged_model(report.shipment, report.models), report.board)
    if engine is None or engine.latency is None:
        return ()
    return (latency_row(engine, engine.latency, report.board),)


def _latency(latency: Latency, engine_rows: Sequence[tuple[str, str, str, str]]) -> Section:
    rows = []
    if latency.predicted is not None and latency.table is not None:
        predicted = latency.predicted
        interval = f"{format_latency_ms(predicted.low_ms)} to {format_latency_ms(predicted.high_ms)}"
        label = "predicted from a measured table" if latency.kind == "measured" else "ESTIMATE, never measured"
        what = "" if predicted.precision == "fp32" else f"{predicted.precision}; "
        held = "" if latency.kind == "measured" else " of public measurements of other devices"
        filled = f"; {predicted.modelled:.0%} of it from modelled entries" if predicted.modelled else ""
        name = f"table {latency.table.name}" if latency.kind == "measured" else latency.table.name
        name += _power(latency.table.power_mode)
        note = f"{predicted.coverage:.0%} interval{held}; {what}{name}{filled}"
        rows.append((label, format_latency_ms(predicted.latency_ms), interval, note))
    if latency.measured is not None:
        measured = latency.measured
        interval = f"{format_latency_ms(measured.low_ms)} to {format_latency_ms(measured.high_ms)}"
        how = "in turn with other networks, as tables are" if measured.state == "in turn" else "call after call"
        note = (
            f"read {how}; 95% interval of the median of {measured.runs} runs (10% to 90% of them: "
            f"{format_latency_ms(measured.p10_ms)} to {format_latency_ms(measured.p90_ms)}), "
            f"{_threads(measured.threads)}, {measured.runtime}, {measured.machine}"
            f"{_power(measured.power_mode)}"
        )
        rows.append(("measured on the exporting machine", format_latency_ms(measured.median_ms), interval, note))
        if measured.state == "in turn" and measured.alone_ms is not None:
            warm = "call after call: the caches still hold the network's weights"
            rows.append(("the same file alone", format_latency_ms(measured.alone_ms), "", warm))
    rows += engine_rows
    if not rows:
        return Section("Latency of one image", (Paragraph(f"Unknown: {latency.not_measured_because}."),))
    return Section("Latency of one image", (Table(("Kind", "Latency", "Interval", "Basis"), tuple(rows)),))


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _power(mode: str | None) -> str:
    return f", power mode {mode}" if mode else ""


def _evidence(models: Sequence[Model], shipment: Shipment) -> Section:
    data = shipment.dataset
    on = "random inputs" if data is None else f"{data.test_images} held-out images of {data.name}"
    rows = []
    for model in models:
        evidence = model.evidence
        parity = evidence.parity
        error = "not finite" if parity.max_relative_error is None else f"{parity.max_relative_error:.2g}"
        rows.append(
            (
                "passed" if not model.file_reasons else "FAILED",
                f"`{model.file}`",
                _accuracy(evidence.source_accuracy),
                _accuracy(evidence.artefact_accuracy),
                "not checked" if evidence.drop is None else evidence.drop.with_verdict,
                f"{error} (allowed {parity.tolerance.max_relative_error:g})",
                f"{parity.top1_agreement:.2%}",
            )
        )
    heads = (
        "Verdict",
        "Model",
        "Accuracy of the source",
        "Accuracy of the file",
        "Accuracy lost",
        "Largest logit error",
        "Same class",
    )
    ran = "; ".join(sorted({model.evidence.runtime for model in models}))
    text = (
        f"Checked on {on} with {ran}. Accuracies are top-1 with a Wilson 95% interval; the logit error is relative to "
        "the largest source logit. Accuracy lost is in percentage points on the same images, with the 95% interval of "
        "Newcombe for paired proportions."
    )
    return Section("Parity and accuracy", (Paragraph(text), Table(heads, tuple(rows))))


def _accuracy(accuracy: Accuracy | None) -> str:
    return "not checked" if accuracy is None else str(accuracy)


def _files(files: Sequence[ShippedFile]) -> Section:
    rows = tuple((f"`{file.name}`", format_bytes(file.size_bytes), f"`{file.sha256}`") for file in files)
    return Section("Files", (Table(("File", "Size", "SHA-256"), rows),))
