"""The main job, step by step: search, extract, recalibrate, export, prove, measure, write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fednas.common import ExitCode, FednasError, Progress, read_bytes, silent
from fednas.export import (
    EngineOptions,
    InputType,
    Manifest,
    Precision,
    place_of,
    read_card_details,
    read_manifest,
    staged_fleet,
    tolerance_for,
)
from fednas.profiles import LOCAL, DeviceProfile
from fednas.toolchain.search.request import (
    Budgets,
    SearchAnswer,
    answer_search,
    describe,
    infeasible_hint,
    infeasible_message,
)
from fednas.toolchain.ship.accuracy_limit import too_few_images
from fednas.toolchain.ship.candidates import choose
from fednas.toolchain.ship.inputs import require_images, require_input_type, require_pixels
from fednas.toolchain.ship.precisions import calibration_images, require_possible, stored_precision
from fednas.toolchain.ship.runtimes import require_runtimes
from fednas.toolchain.ship.source import Source, open_source
from fednas.toolchain.ship.speed import Speed, speed_of
from fednas.toolchain.ship.writing import Report, write_device_folder
from fednas.toolchain.space import Architecture, architecture_from_json

STEPS = 7
"""Steps reported for each device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipJob:
    """Everything that the user asked for."""

    devices: Mapping[str, DeviceProfile]
    """By the name that the user typed (`jetson`), which names the folder too."""
    supernet: Path | None
    """None: the embedded one."""
    budgets: Budgets
    precisions: tuple[Precision, ...]
    """As asked for; latency and budgets are judged on the first."""
    data: str | None
    """``--data`` as given; None: the data set that the supernet was trained on, if it is bundled."""
    out: Path
    architecture: Path | None = None
    """A given architecture (JSON) instead of a search."""
    table: Path | None = None
    recalibrate: bool = True
    profile_seconds: float = 6.0
    """Spent on measuring blocks where this machine is the device and no table is given; 0: nothing is measured."""
    profiles: Path | None = None
    fp16_io: bool = False
    """Whether the fp16 file takes and gives half-precision numbers too."""
    max_accuracy_drop: float | None = None
    """Share of test images that a file may lose against the source."""
    input_type: InputType = "float32"
    """``uint8``: the files normalise pixels themselves."""
    card: Path | None = None
    """What the model's owner says about it (TOML)."""
    candidates: int = 1
    """How many networks near the latency budget to compare by measurement."""
    runtimes: tuple[str, ...] = ()
    """Whose own files ship beside the ONNX files, beyond what a device's own runtime needs."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """How TensorRT builds, where an engine is built in place; each file brings its own precision."""

    def __post_init__(self) -> None:
        if not self.devices:
            raise FednasError("no device was named", hint="add --device cpu; `fednas-export devices` lists all")
        for precision in self.precisions:
            tolerance_for(precision)
        require_possible(self.shipped_precisions, list(self.devices.values()))
        require_runtimes(self.runtimes, list(self.devices.values()), self.shipped_precisions, self.input_type)
        require_input_type(self.input_type, list(self.devices.values()))
        require_images(self.data, self.shipped_precisions, self.max_accuracy_drop)
        if self.fp16_io and "fp16" not in self.precisions:
            raise FednasError(
                "--fp16-io is for the fp16 file, and --precision asks for none",
                hint="add fp16 to --precision, or leave it out",
                exit_code=ExitCode.USAGE,
            )
        if self.fp16_io and self.input_type != "float32":
            hint = "leave out one of them"
            raise FednasError("--fp16-io and --input uint8 both say what the file reads", hint=hint)
        if self.candidates > 1 and (self.budgets.latency_ms is None or self.architecture is not None):
            raise FednasError(
                "--candidates compares networks near a latency budget", hint="add --max-latency, and leave out --arch"
            )
        if self.candidates > 1 and self.profile_seconds == 0:
            raise FednasError(
                "--candidates compares by measurement, and --profile-seconds 0 measures nothing",
                hint="leave out one of them",
            )
        if self.table is not None and len(self.devices) > 1:
            raise FednasError("one --table for several devices", hint="give one --device, or leave out --table")

    @property
    def judged_precision(self) -> Precision:
        """What latency and budgets are judged on."""
        return self.precisions[0]

    @property
    def shipped_precisions(self) -> tuple[Precision, ...]:
        """What each folder holds: fp32 first, from which the others are made."""
        return tuple(dict.fromkeys(("fp32", *self.precisions)))


@dataclass(frozen=True, slots=True)
class ShippedDevice:
    """What was written for one device."""

    name: str
    """As the user typed it."""
    folder: Path
    manifest: Manifest
    doubts: tuple[str, ...] = ()
    """What speaks against the images, or what they are too few for, in sentences; the report has them too."""

    @property
    def exit_code(self) -> ExitCode:
        """4 if it failed its verification, 3 if a budget is missed, 5 if a reading cannot tell, else 0.

        An accuracy drop above its limit is a failed verification; 5 also where its interval cannot tell.

        Where the device is elsewhere and nothing but a prediction speaks of a latency budget, its interval may well
        straddle the limit: the report says ``cannot tell``, and the job has not failed. An interval that lies above
        the limit as a whole, as only a given architecture can have, misses it.
        """
        if self.manifest.status == "rejected":
            return ExitCode.VERIFICATION_FAILED
        shipment = self.manifest.shipment
        if any(budget.verdict == "missed" for budget in shipment.budgets):
            return ExitCode.BUDGET_MISSED
        here = shipment.device.name == LOCAL
        checked = [b for b in shipment.budgets if here or b.basis in ("measured", "exact")]
        drops = [found.drop for model in self.manifest.models for found in model.all_evidence]
        verdicts = [budget.verdict for budget in checked] + [drop.verdict for drop in drops if drop]
        if "cannot tell" in verdicts:
            return ExitCode.CANNOT_TELL
        return ExitCode.OK


def _unheard(_: str) -> None:
    """What is said to nobody."""


def ship(job: ShipJob, progress: Progress = silent, say: Callable[[str], None] = _unheard) -> list[ShippedDevice]:
    """Write one folder for each device; all of them or, if anything fails, none.

    ``say`` is told what the user should know before the work is done, such as a limit that cannot be shown.
    Raises `FednasError` for bad input, an infeasible budget, or a folder that cannot be written.
    """
    total = STEPS * len(job.devices) + 1
    _require_files(job)  # before seconds of loading and minutes of work
    progress(0, total, "reading the supernet and the data")
    source = open_source(job.supernet, job.data)
    if source.data is not None and (doubt := too_few_images(job.max_accuracy_drop, len(source.data.test))):
        say(doubt)
    require_pixels(job.input_type, source)
    given = None if job.architecture is None else _read_architecture(source, job.architecture)
    calibration = calibration_images(source, job.shipped_precisions, hold_out=job.max_accuracy_drop is not None)
    doubts: dict[str, tuple[str, ...]] = {}
    with staged_fleet(job.out, list(job.devices)) as staged:
        for number, (name, profile) in enumerate(job.devices.items()):
            report = _steps(progress, name, 1 + STEPS * number, total)
            report(0, "choosing the subnet")
            speed = speed_of(job, source.space, profile, staged[name], _within(report))
            best = _answer(job, source, profile, speed, given)
            choice = choose(job, source, profile, speed, best, staged[name], calibration, _within(report))
            doubts[name] = write_device_folder(staged[name], job, source, profile, choice, speed, calibration, report)
        folders = {name: place_of(job.out / name, staged[name]) for name in job.devices}
    progress(total, total, "done")
    return [ShippedDevice(name, folder, read_manifest(folder), doubts[name]) for name, folder in folders.items()]


def _steps(progress: Progress, name: str, first: int, total: int) -> Report:
    """Reports of one device, as a part of the whole job."""
    return lambda step, what: progress(first + step, total, f"{name}: {what}")


def _within(report: Report) -> Progress:
    """Progress of the measuring, inside the first step of a device."""
    return lambda done, whole, what="": report(done / whole, f"choosing the subnet, {what}")


def _require_files(job: ShipJob) -> None:
    if job.card is not None:
        read_card_details(job.card)
    for path, what in ((job.architecture, "architecture"), (job.table, "latency table")):
        if path is not None:
            read_bytes(path, what)


def _answer(
    job: ShipJob, source: Source, profile: DeviceProfile, speed: Speed, given: Architecture | None
) -> SearchAnswer:
    """The architecture for one device, found or given."""
    if given is not None:
        return describe(source.space, given, [speed.model], "network", "given", None, None, 0.0, ())
    stored = stored_precision(job.judged_precision, profile)
    answer = answer_search(source.space, job.budgets, [speed.model], precision=stored, explain=True)
    if answer.status == "infeasible":
        raise FednasError(f"{profile.name}: {infeasible_message(answer)}", hint=infeasible_hint(answer))
    return answer


def _read_architecture(source: Source, path: Path) -> Architecture:
    return architecture_from_json(source.space, read_bytes(path, "architecture"), f"architecture {path}")


def worst_exit_code(shipped: Sequence[ShippedDevice]) -> ExitCode:
    """Of several devices: failed verification before a missed budget before cannot tell."""
    codes = {device.exit_code for device in shipped}
    order = (ExitCode.VERIFICATION_FAILED, ExitCode.BUDGET_MISSED, ExitCode.CANNOT_TELL)
    return next((code for code in order if code in codes), ExitCode.OK)
