"""What engines did on the board itself: part of the manifest, worked out anew from the board's own numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fednas.common import FednasError
from fednas.export.board.inspector import EngineLayer
from fednas.export.board.problem import BoardProblem
from fednas.export.board.trtexec import parse_version, require_readable
from fednas.export.board_result import BoardResult, ResultEngine, ResultMachine
from fednas.export.engine_record import EngineLatency, EngineLayers, EngineRecord, layer_faults
from fednas.export.evidence import Tolerance, for_few, judge_logits
from fednas.export.records import Record
from fednas.export.test_vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_TEXT = 300
_CARRIED = "import it into the folder that was carried to that board"
_UNEDITED = "run the kit again; nobody should edit the result"


class KitModelFacts(NamedTuple):
    """What the folder itself knows of one of its models."""

    sha256: str
    opset: int
    tolerance: Tolerance
    kept: frozenset[str]
    """Convolutions and matrix products that the file keeps in fp32."""


class BoardRecord(Record, frozen=True, kw_only=True):
    """One run of the board's script, imported."""

    created: str
    """By the board's clock, UTC; boards without a battery may be years off."""
    way: str
    """``module``: TensorRT's Python module; ``trtexec``."""
    tensorrt_version: str
    machine: ResultMachine
    celsius_before: float | None
    celsius_after: float | None
    engines: tuple[EngineRecord, ...]
    failed: tuple[str, ...]
    """Models of which no engine came, with the reason."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the folder cannot be shipped as verified; empty if it can."""
        return tuple(f"{engine.model} on the board: {why}" for engine in self.engines for why in engine.reasons)


def board_record(
    result: BoardResult, *, device: str, identity: str, models: Mapping[str, KitModelFacts], vectors: Vectors
) -> BoardRecord:
    """What ``result`` says, with every number recomputed from its logits, samples and layers.

    Args:
        result: as read.
        device: that the folder is for.
        identity: of this folder's kit.
        models: those of the folder, by file name.
        vectors: of the folder.

    Raises:
        FednasError: it is of another kit or device, names models that are not in the folder, speaks of a TensorRT that
            cannot read them, or contradicts itself.
    """
    if result.kit_sha256 != identity:
        raise FednasError(
            f"the board result belongs to another kit (device {_plain(result.device)!r}, kit "
            f"{result.kit_sha256[:12]}; this folder is kit {identity[:12]})",
            hint=_CARRIED,
        )
    if result.device != device:
        raise FednasError(
            f"the board result is of device {_plain(result.device)!r}, this folder is for {device!r}", hint=_UNEDITED
        )
    for engine in result.engines:
        if engine.model not in models or models[engine.model].sha256 != engine.model_sha256:
            raise FednasError(
                f"the board result speaks of {engine.model}, which is not the model in this folder",
                hint=_CARRIED,
            )
    return BoardRecord(
        created=result.created,
        way=result.way,
        tensorrt_version=result.tensorrt,
        machine=_plain_machine(result.machine),
        celsius_before=result.temperature_c.before,
        celsius_after=result.temperature_c.after,
        engines=tuple(_engine(e, result, models[e.model], vectors) for e in result.engines if not e.failed),
        failed=tuple(f"{engine.model}: {_plain(engine.failed)}" for engine in result.engines if engine.failed),
    )


def _engine(engine: ResultEngine, result: BoardResult, model: KitModelFacts, vectors: Vectors) -> EngineRecord:
    tolerance = model.tolerance
    if engine.precision != tolerance.precision:
        raise FednasError(
            f"the board result calls {engine.model} {engine.precision}, it is {tolerance.precision}",
            hint=_UNEDITED,
        )
    _require_able(result.tensorrt, engine.model, model.opset)
    runtime = f"tensorrt {result.tensorrt} ({result.way}) on {_plain(result.machine.board or result.machine.system)}"
    layers = [EngineLayer(_plain(layer.name), layer.kind, layer.precision) for layer in engine.layers]
    logits = _logits(engine, vectors)
    tolerance = for_few(tolerance, len(logits))
    return EngineRecord(
        model=engine.model,
        precision=engine.precision,
        tensorrt_version=result.tensorrt,
        strongly_typed=engine.strongly_typed,
        sha256=engine.engine_sha256,
        size_bytes=engine.engine_bytes,
        build_seconds=engine.build_seconds,
        evidence=judge_logits(runtime, logits, vectors.logits, tolerance=tolerance),
        latency=EngineLatency.of(engine.samples_ms, batch=engine.batch, clock=_plain(engine.clock)),
        layers=EngineLayers.of(layers),
        faults=layer_faults(layers, engine.precision, model.kept, strongly_typed=engine.strongly_typed),
    )


def _logits(engine: ResultEngine, vectors: Vectors) -> "NDArray[np.float64]":
    import numpy as np

    shape = vectors.logits.shape
    if (len(engine.logits), *{len(row) for row in engine.logits}) != shape:
        raise FednasError(f"the board result has {len(engine.logits)} rows of logits for {engine.model}, not {shape}")
    # Null stands for what was not finite.
    logits = np.array([[np.nan if value is None else value for value in row] for row in engine.logits], np.float64)
    errors = np.abs(logits - vectors.logits).max(axis=1)
    stated = [np.nan if value is None else value for value in engine.max_abs_errors]
    if len(stated) != len(errors) or not np.allclose(errors, stated, rtol=1e-3, atol=1e-6, equal_nan=True):
        raise FednasError(
            f"the errors that the board result states for {engine.model} do not follow from its logits",
            hint=_UNEDITED,
        )
    return logits


def _require_able(tensorrt: str, file: str, opset: int) -> None:
    try:
        require_readable(parse_version(tensorrt), opset)
    except BoardProblem as err:
        raise FednasError(
            f"the board result has an engine of {file}, which cannot be: {err.message}", hint=_UNEDITED
        ) from err


def _plain_machine(machine: ResultMachine) -> ResultMachine:
    # Everything in it is text that the report shows.
    fields = msgspec.structs.asdict(machine).items()
    return msgspec.structs.replace(machine, **{name: None if text is None else _plain(text) for name, text in fields})


def _plain(text: str) -> str:
    """Without what could be markup or another line."""
    kept = "".join(char if char.isprintable() and char not in "<>`|*[]" else " " for char in text[:_MOST_TEXT])
    return " ".join(kept.split())
