"""A shipped folder and a latency table made of the real records, with figures that a test chooses."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fednas import export
from fednas.common import encode_json
from fednas.latency_tables import BlockSpec, Interval, LatencyTable, Machine, Session, TableEntry, save_table

MODEL = b"not a real model: check reads its size and hash, nothing else"


def write_shipped_folder(
    parent: Path,
    *,
    status: str = "verified",
    reasons: tuple[str, ...] = (),
    measured: tuple[float, float, float] | None = (2.0, 1.9, 2.2),
    predicted: tuple[float, float, float] | None = (2.1, 1.8, 2.5),
    table_kind: str = "measured",
    correct: int | None = 97,
    macs: int = 5_000_000,
    params: int = 200_000,
) -> Path:
    """Write ``parent``/cpu with a manifest of these figures; latencies are (value, low, high)."""
    folder = parent / "cpu"
    folder.mkdir()
    (folder / "model.fp32.onnx").write_bytes(MODEL)
    (folder / "vectors.npz").write_bytes(b"")
    accuracy = None if correct is None else export.accuracy_with_interval(correct, 100)
    shipment = export.Shipment(
        device=export.Device(name="cpu", title="CPU", runtime="onnxruntime", runtime_version="1.32", onnx_opset=17),
        architecture={"d": [0], "e": [1.0], "w_indices": [0, 0]},
        fitness=None,
        macs=macs,
        params=params,
        supernet=export.Supernet(name="embedded", sha256="0"),
        search=None,
        budgets=(),
        latency=_latency(measured, predicted, table_kind),
        dataset=None,
        recalibration=export.Recalibration(images=0),
    )
    parity = export.Parity(
        images=1,
        tolerance=export.TOLERANCES["fp32"],
        logit_scale=1.0,
        max_abs_error=0.0,
        max_relative_error=0.0,
        top1_agreement=1.0,
        passed=True,
        reasons=(),
    )
    evidence = export.ArtefactEvidence(
        runtime="test", parity=parity, source_accuracy=accuracy, artefact_accuracy=accuracy
    )
    model = export.Model(
        precision="fp32",
        file="model.fp32.onnx",
        opset=17,
        ir_version=8,
        input_name="input",
        output_name="logits",
        evidence=evidence,
    )
    manifest = export.Manifest(
        schema=1,
        status=status,  # type: ignore[arg-type]
        reasons=reasons,
        shipment=shipment,
        models=(model,),
        test_vectors=export.TestVectors(file="vectors.npz", count=1, inputs="random"),
        files=(
            _listed("model.fp32.onnx", MODEL),
            _listed("vectors.npz", b""),
        ),
        build=export.build_record(),
    )
    (folder / export.MANIFEST_FILE).write_text(encode_json(manifest))
    return folder


def _listed(name: str, content: bytes) -> export.ShippedFile:
    return export.ShippedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _latency(
    measured: tuple[float, float, float] | None, predicted: tuple[float, float, float] | None, table_kind: str
) -> export.Latency:
    return export.Latency(
        table=predicted and export.Table(name="test", sha256=None, kind=table_kind),  # type: ignore[arg-type]
        predicted=predicted
        and export.PredictedLatency(latency_ms=predicted[0], low_ms=predicted[1], high_ms=predicted[2], coverage=0.9),
        measured=measured
        and export.MeasuredLatency(
            median_ms=measured[0],
            low_ms=measured[1],
            p10_ms=measured[1],
            p90_ms=measured[2],
            high_ms=measured[2],
            runs=200,
            threads=1,
            runtime="onnxruntime",
            machine="test",
        ),
        not_measured_because="" if measured else "this machine is not the device",
    )


def write_latency_table(path: Path, specs: Iterable[BlockSpec], *, block_ms: float, factor: float) -> None:
    """A table of the device ``cpu`` in which every block costs the same; the interval is this factor wide."""
    session = Session(
        plan="test",
        seconds=1.0,
        readings=1,
        reference_ms=1.0,
        reference_p10_ms=1.0,
        reference_p90_ms=1.0,
        drift_low=1.0,
        drift_high=1.0,
        halves_ratio=1.0,
        load_before=0.0,
        load_after=0.0,
        interrupted=0.0,
    )
    machine = Machine(
        cpu_model="test",
        architecture="test",
        operating_system="test",
        cores=1,
        affinity=(0,),
        python_version="3",
        numpy_version="2",
    )
    entries = [
        TableEntry(
            kind=spec.kind,
            in_channels=spec.in_channels,
            mid_channels=spec.mid_channels,
            out_channels=spec.out_channels,
            in_hw=spec.in_hw,
            stride=spec.stride,
            shortcut=spec.shortcut,
            median_ms=block_ms,
            p10_ms=block_ms,
            p90_ms=block_ms,
            samples=9,
            spread=0.0,
            origin="measured",
        )
        for spec in specs
    ]
    table = LatencyTable(
        device="cpu",
        runtime="onnxruntime",
        runtime_version="1.32",
        precision="fp32",
        batch=1,
        threads=1,
        date="2026-01-01T00:00:00Z",
        tool_version="0",
        machine=machine,
        session=session,
        interval=Interval(coverage=0.9, factor=factor),
        entries=tuple(entries),
    )
    save_table(table, path)
