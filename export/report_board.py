"""The report's section on what the board itself said."""

from collections.abc import Sequence

from fednas.common import format_bytes, format_latency_ms
from fednas.export.board_record import BoardRecord
from fednas.export.engine_record import EngineLatency, EngineRecord
from fednas.export.evidence import ArtefactEvidence
from fednas.export.manifest import Model
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table

HEADS = ("Verdict", "Engine of", "Largest logit error", "Same class", "Layers", "Latency", "10% to 90% of runs")


def board_section(board: BoardRecord) -> Section:
    """Engines, their parity, layers and latency, and the state of the board."""
    machine = board.machine
    facts = (
        ("Board", machine.board or "does not say"),
        (
            "GPU",
            _known(machine.name, machine.compute_capability and f"compute capability {machine.compute_capability}"),
        ),
        ("TensorRT", f"{board.tensorrt_version}, through {_WAYS[board.way]}"),
        ("CUDA, driver", _known(machine.cuda, machine.driver)),
        ("System", _known(machine.l4t, machine.system)),
        ("Power mode", machine.power_mode or "does not say"),
        ("Hottest zone", f"{_celsius(board.celsius_before)} before, {_celsius(board.celsius_after)} after"),
        ("Date", f"{board.created} by the board's clock"),
    )
    text = (
        "Imported from the board's own result. Logit errors and verdicts were worked out here from the logits that the "
        "engines gave for the test vectors, latencies from every run. Accuracy was not checked on the board."
    )
    engines = tuple(engine_row(engine) for engine in board.engines)
    failed = (Paragraph("No engine came of:"), Bullets(board.failed)) if board.failed else ()
    tables = (Table(HEADS, engines), _timing(board.engines)) if engines else ()
    return Section("On the board", (Paragraph(text), *tables, *failed, Table(("", ""), facts)))


def engines_section(models: Sequence[Model]) -> Section | None:
    """Engines that were built and proven where the folder was written."""
    engines = [model.engine for model in models if model.engine is not None]
    if not engines:
        return None
    text = (
        f"Built with TensorRT {engines[0].tensorrt_version} on the machine that exported, and held against the source "
        "on the same images as the ONNX files. They run only with this version on this kind of GPU."
    )
    accuracies = tuple((f"`{e.model}`", *_accuracy(e.evidence)) for e in engines)
    tables = (
        Table(HEADS, tuple(engine_row(e) for e in engines)),
        _timing(engines),
        Table(("Engine of", "Accuracy", "Accuracy lost"), accuracies),
    )
    return Section("TensorRT engines", (Paragraph(text), *tables))


def _accuracy(evidence: ArtefactEvidence) -> tuple[str, str]:
    """Of an engine, and what it lost."""
    lost = evidence.drop.with_verdict if evidence.drop else "not checked"
    return str(evidence.artefact_accuracy or "not checked"), lost


def latency_row(engine: EngineRecord, read: EngineLatency, board: BoardRecord | None) -> tuple[str, str, str, str]:
    """Kind, latency, interval and basis of one image by ``engine``, which ``board`` or the exporting machine ran."""
    median, low, high, p10, p90 = map(
        format_latency_ms, (read.median_ms, read.low_ms, read.high_ms, read.p10_ms, read.p90_ms)
    )
    where = "on the board" if board is not None and engine in board.engines else "on the exporting machine"
    note = (
        f"TensorRT {engine.tensorrt_version} engine; 95% interval of the median of {read.runs} runs "
        f"(10% to 90% of them: {p10} to {p90}), {read.clock}"
    )
    return f"measured {where}", median, f"{low} to {high}", note


def engine_row(engine: EngineRecord) -> tuple[str, ...]:
    """One engine, under `HEADS`."""
    parity, read = engine.evidence.parity, engine.latency
    error = "not finite" if parity.max_relative_error is None else f"{parity.max_relative_error:.2g}"
    return (
        "FAILED: " + "; ".join(engine.reasons) if engine.reasons else "passed",
        f"`{engine.model}` ({format_bytes(engine.size_bytes)})",
        f"{error} (allowed {parity.tolerance.max_relative_error:g}; {parity.images} inputs)",
        f"{parity.top1_agreement:.2%}",
        str(engine.layers),
        *_times(read),
    )


def _times(read: EngineLatency | None) -> tuple[str, str]:
    if read is None:
        return "not measured", ""
    median, low, high = map(format_latency_ms, (read.median_ms, read.low_ms, read.high_ms))
    return f"{median} ({low} to {high})", f"{format_latency_ms(read.p10_ms)} to {format_latency_ms(read.p90_ms)}"


_WAYS = {"module": "its Python module", "trtexec": "trtexec"}


def _timing(engines: Sequence[EngineRecord]) -> Paragraph:
    reads = [engine.latency for engine in engines if engine.latency is not None]
    if not reads:
        return Paragraph("Latency: it was not to be measured.")
    ways = dict.fromkeys(f"batch {read.batch}, {read.runs} runs, {read.clock}" for read in reads)
    return Paragraph(f"Latency: median with its 95% interval; {'; '.join(ways)}.")


def _known(*values: str | None) -> str:
    return ", ".join(value for value in values if value) or "does not say"


def _celsius(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} degrees Celsius"
