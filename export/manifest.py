"""The manifest of a shipped folder: what was shipped, why, and what was proven about it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from fednas.export.activation_memory import peak_activation_bytes
from fednas.export.board_record import BoardRecord
from fednas.export.build import Build
from fednas.export.calibration import Calibration
from fednas.export.census import Census, KeptLayer, census_of
from fednas.export.computed_layers import computed_faults
from fednas.export.converted_model import ConvertedModel, FailedArtefact
from fednas.export.engine_record import EngineLatency, EngineRecord
from fednas.export.evidence import ArtefactEvidence, Precision
from fednas.export.float_layers import WEIGHTED_OPS
from fednas.export.latency_record import Latency, MeasuredLatency
from fednas.export.mixed_int8 import MixedInt8
from fednas.export.onnx_file import OnnxFile, load_checked_model
from fednas.export.records import Record
from fednas.profiles import DeviceProfile

SCHEMA = 1
MANIFEST_FILE = "manifest.json"
Status = Literal["verified", "rejected", "unverified"]
Verdict = Literal["met", "missed", "cannot tell"]


class Device(Record, frozen=True, kw_only=True):
    """The device that the folder is for."""

    name: str
    title: str
    runtime: str
    runtime_version: str
    onnx_opset: int
    """What the device reads for certain, and so what was exported."""

    @classmethod
    def from_profile(cls, profile: DeviceProfile) -> Self:
        """The part of a profile that a shipped folder must know."""
        return cls(
            name=profile.name,
            title=profile.title,
            runtime=profile.runtime,
            runtime_version=profile.runtime_version,
            onnx_opset=profile.onnx_opset,
        )


class Supernet(Record, frozen=True, kw_only=True):
    """Where the weights came from."""

    name: str
    """File name or ``embedded``; never a path of the machine that exported."""
    sha256: str
    """Of the supernet file."""


class Search(Record, frozen=True, kw_only=True):
    """How the architecture was found."""

    method: str
    status: str
    """``optimal`` (proven) or ``feasible``."""
    upper_bound: float | None
    """No architecture within the budgets has a higher fitness than this."""
    gap: float | None
    """Relative distance between that bound and the fitness found; 0 when proven optimal."""


class NextBetter(Record, frozen=True, kw_only=True):
    """The first fitter network that raising one budget alone would allow."""

    needs: float
    """What the budget must be raised to, by the quantity that the search limited."""
    needs_text: str
    """The same for people, with enough digits to tell it from the budget."""
    fitness: float


class Budget(Record, frozen=True, kw_only=True):
    """One budget that was asked for, and what came of it."""

    quantity: str
    """Such as ``latency``, ``macs``, ``params`` or ``size``."""
    unit: str
    """Such as ``ms`` or ``bytes``; empty for plain counts."""
    limit: Annotated[float, Meta(gt=0)]
    value: float | None
    low: float | None = None
    high: float | None = None
    basis: str
    """What the value rests on: ``measured``, ``predicted``, ``estimated`` or ``exact``."""
    verdict: Verdict
    next_better: NextBetter | None = None
    """Null: raising this budget alone brings nothing, or nothing was proven. For latency, by prediction."""

    @property
    def next_to_tell(self) -> NextBetter | None:
        """`next_better`, but None where a reading decided: what is needed by prediction says nothing beside it."""
        return None if self.basis == "measured" else self.next_better


class Dataset(Record, frozen=True, kw_only=True):
    """The images behind accuracy and recalibration."""

    name: str
    test_images: int


class Recalibration(Record, frozen=True, kw_only=True):
    """How the batch norms of the subnet were adapted to it."""

    images: int
    """Training images that passed; 0 when the batch norms were left as the supernet had them."""


def kept_names(kept_fp32: tuple[KeptLayer, ...], mixed: MixedInt8 | None) -> frozenset[str]:
    """Names of layers left in fp32, because they could overflow or for the sake of accuracy."""
    return frozenset(layer.name for layer in kept_fp32) | frozenset(mixed.kept if mixed else ())


def kept_products(kept_fp32: tuple[KeptLayer, ...], mixed: MixedInt8 | None) -> frozenset[str]:
    """As `kept_names`, of convolutions and matrix products only."""
    return kept_names(tuple(layer for layer in kept_fp32 if layer.operator in WEIGHTED_OPS), mixed)


class Model(Record, frozen=True, kw_only=True):
    """One artefact and the evidence for it."""

    precision: Precision
    file: str
    opset: int
    ir_version: int
    input_name: str
    output_name: str
    evidence: ArtefactEvidence
    input_type: str = "float32"
    """``uint8`` where the file normalises pixels itself; else also that of the output."""
    census: Census | None = None
    """Null in folders of versions that took none."""
    kept_fp32: tuple[KeptLayer, ...] = ()
    """Layers of an fp16 file that stayed in fp32, because they could overflow."""
    calibration: Calibration | None = None
    """Null for fp32, which needs none."""
    measured: MeasuredLatency | None = None
    """Null: not measured."""
    not_measured_because: str = ""
    """Empty if it was, or in folders of versions that did not say."""
    mixed: MixedInt8 | None = None
    """Which layers of an int8 file stayed in fp32 for the sake of accuracy; null: plain int8 was enough."""
    engine: EngineRecord | None = None
    """The TensorRT engine that was built and proven where the folder was written; null: none was."""
    converted: tuple[ConvertedModel, ...] = ()
    """The same network in the own files of other runtimes."""
    failed: tuple[FailedArtefact, ...] = ()
    """The engine and the runtimes' own files that were asked for and could not be made."""
    peak_activation_bytes: int | None = None
    """Largest sum of tensors alive at once for one image, weights not counted; null in folders that did not say."""

    @property
    def kept_names(self) -> frozenset[str]:
        """Layers that were left in fp32 on purpose."""
        return kept_names(self.kept_fp32, self.mixed)

    @property
    def kept_products(self) -> frozenset[str]:
        """Of these, the convolutions and matrix products."""
        return kept_products(self.kept_fp32, self.mixed)

    @property
    def all_evidence(self) -> tuple[ArtefactEvidence, ...]:
        """For the ONNX file, for the engine built of it, and for what it was converted to."""
        engine = (self.engine.evidence,) if self.engine else ()
        return (self.evidence, *engine, *(other.evidence for other in self.converted))

    @property
    def file_reasons(self) -> tuple[str, ...]:
        """What speaks against the ONNX file itself; empty if nothing does."""
        return (*self.evidence.reasons, *(self.census.reasons if self.census else ()))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why this file, with all that was made of it, may not be shipped as verified; empty if it may."""
        return self.reasons_beside(engine_on_board=False)

    def reasons_beside(self, *, engine_on_board: bool) -> tuple[str, ...]:
        """As `reasons`; an engine that could not be built in place does not matter where the board built one."""
        engine = [f"engine: {why}" for why in self.engine.reasons] if self.engine else []
        converted = [f"{', '.join(o.files)}: {why}" for o in self.converted for why in self.reasons_of(o)]
        failed = [
            f"nothing could be made for {each.runtime}: {each.reason}"
            for each in self.failed
            if not (engine_on_board and each.runtime == "tensorrt")
        ]
        return (*self.file_reasons, *engine, *converted, *failed)

    def reasons_of(self, other: ConvertedModel) -> tuple[str, ...]:
        """Why the files of another runtime, made of this one, may not be shipped as verified; empty if they may."""
        counted = self.census.layers if self.census else ()
        products = sum(layer.count for layer in counted if layer.operator in WEIGHTED_OPS) if counted else None
        kept = len(self.kept_products)
        return (
            *other.evidence.reasons,
            *computed_faults(self.precision, other.computed, kept=kept, products=products),
        )

    @classmethod
    def from_onnx(
        cls,
        onnx_file: OnnxFile,
        precision: Precision,
        evidence: ArtefactEvidence,
        *,
        runtime: str = "tensorrt",
        kept_fp32: tuple[KeptLayer, ...] = (),
        calibration: Calibration | None = None,
        mixed: MixedInt8 | None = None,
        measured: MeasuredLatency | None = None,
        not_measured_because: str = "",
        engine: EngineRecord | None = None,
        converted: tuple[ConvertedModel, ...] = (),
        failed: tuple[FailedArtefact, ...] = (),
    ) -> Self:
        """The record of an exported file, with its census."""
        return cls(
            precision=precision,
            file=onnx_file.path.name,
            opset=onnx_file.opset,
            ir_version=onnx_file.ir_version,
            input_name=onnx_file.input_name,
            output_name=onnx_file.output_name,
            evidence=evidence,
            input_type=onnx_file.input_type,
            census=census_of(onnx_file.path, precision, kept_names(kept_fp32, mixed), runtime),
            kept_fp32=kept_fp32,
            calibration=calibration,
            mixed=mixed,
            measured=measured,
            not_measured_because=not_measured_because,
            engine=engine,
            converted=converted,
            failed=failed,
            peak_activation_bytes=peak_activation_bytes(load_checked_model(onnx_file.path)),
        )


class TestVectors(Record, frozen=True, kw_only=True):
    """Inputs that travel with the model, with the logits they must give."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    file: str
    count: int
    inputs: Literal["real", "random"]
    """``real`` held-out images, or ``random`` numbers where no data was given."""


class ShippedFile(Record, frozen=True, kw_only=True):
    """One file of the folder, so that nobody can change it unnoticed."""

    name: str
    sha256: str
    size_bytes: int


class Candidate(Record, frozen=True, kw_only=True):
    """One of several networks near the latency budget that were compared before one was kept."""

    architecture: dict[str, Any]
    fitness: float
    macs: int
    params: int
    predicted_ms: float
    predicted_low_ms: float
    predicted_high_ms: float
    measured: MeasuredLatency | None
    """In turn with the other candidates, not one after another; null: they could not be measured."""
    verdict: Verdict
    """Against the latency budget: of the reading, else of the prediction."""
    kept: bool
    not_measured_because: str = ""
    """Empty if it was, or in folders of versions that did not say."""
    corrected: bool = False
    """Added after others were measured, nearest to the budget by predictions corrected by their readings."""


class Shipment(Record, frozen=True, kw_only=True):
    """What the caller knows about the network it ships."""

    device: Device
    architecture: dict[str, Any]
    """JSON form of the architecture."""
    fitness: float | None
    macs: int
    params: int
    supernet: Supernet
    search: Search | None
    """Null: the architecture was given, not searched."""
    budgets: tuple[Budget, ...]
    latency: Latency
    dataset: Dataset | None
    """Null: exported without data, so without accuracy checks."""
    recalibration: Recalibration
    precision: Precision = "fp32"
    """The first one asked for: latency and budgets speak of its file."""
    candidates: tuple[Candidate, ...] = ()
    """The networks compared, by predicted latency; empty: the predicted best was taken."""


class Header(Record, frozen=True, kw_only=True):
    """How every document of the folder begins."""

    schema: int
    status: Status
    reasons: tuple[str, ...]
    """Why the status is not ``verified``; empty if it is."""


class Manifest(Header, frozen=True, kw_only=True):
    """``manifest.json``."""

    shipment: Shipment
    models: tuple[Model, ...]
    test_vectors: TestVectors
    files: tuple[ShippedFile, ...]
    """All files of the folder but the manifest itself."""
    build: Build
    board: BoardRecord | None = None
    """What was measured on the board itself and imported; null: nothing was."""

    def engine_latency(self, model: Model) -> EngineLatency | None:
        """Latency of one image by the engine of ``model``, as the board measured it, else as it was built in place."""
        engine = engine_timed_with_one(model, self.board)
        return engine.latency if engine else None

    def engine_batches(self, model: Model) -> tuple[int, ...]:
        """The batches that engines of ``model`` were timed with, in order."""
        timed = timed_engines(model, self.board)
        return tuple(sorted({engine.latency.batch for engine in timed if engine.latency is not None}))


def timed_engines(model: Model, board: BoardRecord | None) -> list[EngineRecord]:
    """Engines of ``model`` that were timed, with whatever batch: those of the board, then the one built in place."""
    engines = [engine for engine in board.engines if engine.model == model.file] if board else []
    engines += [model.engine] if model.engine else []
    return [engine for engine in engines if engine.latency is not None]


def engine_timed_with_one(model: Model, board: BoardRecord | None) -> EngineRecord | None:
    """The first of `timed_engines` that was timed with one image, as budgets mean it."""
    return next((e for e in timed_engines(model, board) if e.latency is not None and e.latency.batch == 1), None)


def verdict_of(low: float, high: float, limit: float) -> Verdict:
    """Of an interval against the most that is allowed."""
    if high <= limit:
        return "met"
    return "missed" if low > limit else "cannot tell"


def judged_model(shipment: Shipment, models: Sequence[Model]) -> Model:
    """The model that latency and budgets speak of."""
    return next((model for model in models if model.precision == shipment.precision), models[0])


def status_of(
    models: tuple[Model, ...], dataset: Dataset | None, board: BoardRecord | None = None
) -> tuple[Status, tuple[str, ...]]:
    """The verdict over all models, and over their engines on the board, with the reasons if not ``verified``."""
    on_board = {engine.model for engine in board.engines} if board else set()
    failed = tuple(
        f"{model.file}: {why}"
        for model in models
        for why in model.reasons_beside(engine_on_board=model.file in on_board)
    )
    failed += board.reasons if board else ()
    if failed:
        return "rejected", failed
    if dataset is None:
        return "unverified", ("exported without data: accuracy was not checked, parity only on random inputs",)
    return "verified", ()
