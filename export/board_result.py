"""``board_result.json``: what the board's script wrote, read as something that anybody may have changed."""

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fednas.common import FednasError, decode_json, read_bytes
from fednas.export.board.check import MOST_SAMPLES, MOST_TEXT
from fednas.export.evidence import Precision
from fednas.export.records import Record

RESULT_FILE = "board_result.json"
RESULT_SCHEMA = 1
MAX_RESULT_BYTES = 16 * 2**20
FEWEST_SAMPLES = 10
"""Below, no 95 % interval of the median is worth its name; trtexec and the module make at least as many."""
_Text = Annotated[str, Meta(max_length=MOST_TEXT)]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
_Count = Annotated[int, Meta(ge=1, le=2**40)]
_Celsius = Annotated[float, Meta(ge=-100, le=300)]
_Row = Annotated[tuple[float | None, ...], Meta(max_length=100_000)]
_Milliseconds = Annotated[float, Meta(gt=0, le=1e7)]


class ResultMachine(Record, frozen=True, kw_only=True):
    """The board, as it describes itself."""

    board: _Text | None
    l4t: _Text | None
    system: _Text
    python: _Text
    power_mode: _Text | None
    name: _Text | None
    """Of the GPU."""
    compute_capability: _Text | None
    cuda: _Text | None
    driver: _Text | None


class ResultTemperature(Record, frozen=True, kw_only=True):
    """Hottest zone of the board."""

    before: _Celsius | None
    after: _Celsius | None


class ResultSettings(Record, frozen=True, kw_only=True):
    """How engines were built."""

    workspace_mib: _Count
    level: Annotated[int, Meta(ge=0, le=5)]
    smallest: _Count
    tuned: _Count
    largest: _Count
    seconds: _Count


class ResultLayer(Record, frozen=True, kw_only=True):
    """One layer of an engine."""

    name: _Text
    kind: _Text
    precision: Literal["int8", "fp16", "fp32", "unknown"]


class ResultEngine(Record, frozen=True, kw_only=True):
    """One model; everything after ``failed`` is there only if it is empty."""

    model: _Name
    model_sha256: _Sha256
    precision: Precision
    failed: _Text
    passed: bool
    faults: Annotated[tuple[_Text, ...], Meta(max_length=100)] = ()
    engine: _Name = "none"
    engine_sha256: _Sha256 = "0" * 64
    engine_bytes: _Count = 1
    build_seconds: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    options: Annotated[tuple[_Text, ...], Meta(max_length=100)] = ()
    strongly_typed: bool = False
    logits: Annotated[tuple[_Row, ...], Meta(max_length=4096)] = ()
    max_relative_error: float | None = None
    top1_agreement: Annotated[float, Meta(ge=0, le=1)] = 0.0
    max_abs_errors: Annotated[tuple[float | None, ...], Meta(max_length=4096)] = ()
    clock: _Text = ""
    batch: _Count = 1
    samples_ms: Annotated[tuple[_Milliseconds, ...], Meta(max_length=MOST_SAMPLES)] = ()
    layers: Annotated[tuple[ResultLayer, ...], Meta(max_length=20_000)] = ()
    layers_missing: _Text = ""


class BoardResult(Record, frozen=True, kw_only=True):
    """The whole file."""

    schema: Literal[1]
    kit_sha256: _Sha256
    manifest_sha256: _Sha256
    """Of the manifest as it was on the board; the kit's identity is what counts."""
    device: _Text
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    machine: ResultMachine
    temperature_c: ResultTemperature
    tensorrt: Annotated[str, Meta(pattern=r"^[0-9][0-9A-Za-z.+-]{0,40}$")]
    way: Literal["module", "trtexec"]
    settings: ResultSettings
    engines: Annotated[tuple[ResultEngine, ...], Meta(min_length=1, max_length=16)]


_AGAIN = "run board_check.py again, and take its board_result.json home unchanged"


class _Schema(msgspec.Struct):
    schema: int


def read_board_result(path: Path) -> BoardResult:
    """The result in ``path``; raises `FednasError` for anything that the script does not write."""
    if path.is_file() and path.stat().st_size > MAX_RESULT_BYTES:
        raise FednasError(
            f"board result {path} is larger than {MAX_RESULT_BYTES} bytes; the script writes no such file",
            hint=_AGAIN,
        )
    content = read_bytes(path, "board result")
    what = f"board result {path}"
    found = decode_json(content, _Schema, what, hint=_AGAIN).schema
    if found != RESULT_SCHEMA:
        raise FednasError(f"{what} has schema {found}, this version reads {RESULT_SCHEMA}", hint=_AGAIN)
    result = decode_json(content, BoardResult, what, hint=_AGAIN)
    _require_date(result.created, what)
    for engine in result.engines:
        _require_whole(engine, what)
    if len({engine.model for engine in result.engines}) != len(result.engines):
        raise FednasError(f"{what} names a model twice", hint=_AGAIN)
    return result


def _require_date(created: str, what: str) -> None:
    try:
        datetime.fromisoformat(created)
    except ValueError as err:
        raise FednasError(f"{what} was made at {created}, which is no date", hint=_AGAIN) from err


def _require_whole(engine: ResultEngine, what: str) -> None:
    if engine.failed:
        return
    numbers = [value for row in engine.logits for value in row if value is not None]
    if not engine.logits or not engine.samples_ms or not all(map(math.isfinite, numbers)):
        raise FednasError(
            f"{what}: engine of {engine.model} has no logits or no samples, or numbers that are not finite",
            hint=_AGAIN,
        )
    if len(engine.samples_ms) < FEWEST_SAMPLES:
        raise FednasError(
            f"{what}: engine of {engine.model} was timed {len(engine.samples_ms)} times, which says too little; "
            f"at least {FEWEST_SAMPLES} are needed",
            hint="run the kit again with more --seconds",
        )
