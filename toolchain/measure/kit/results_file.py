"""The content of ``results.json``, as it may be: what is not of this form is refused before it is looked at."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fednas.common import UtcTime
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit.board.gpu import SLOWED_BY
from fednas.toolchain.measure.kit.board.measuring import MOST_POWER_ROWS
from fednas.toolchain.measure.kit.board.tegrastats import MOST_NAMES
from fednas.toolchain.measure.kit.document import AtLeastOne, Count, KitDocument, Name, Sha256, Text

SCHEMA = 1
LARGEST = 1e9
"""Of any number that is measured: thirty years of seconds. What is computed of such numbers is still finite."""
NonNegative = Annotated[float, Meta(ge=0, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]
MOST_SITTINGS = 10_000
Celsius = Annotated[float, Meta(ge=-100, le=300)]
Cause = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join(map(re.escape, SLOWED_BY.values()))})\Z",
        description=f"one of {', '.join(SLOWED_BY.values())}",
    ),
]
"""Of a lower clock of the GPU, in the script's words."""
Causes = Annotated[tuple[Cause, ...], Meta(max_length=len(SLOWED_BY))]


class BoardGpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The GPU that measures, at one moment; None: not readable there."""

    name: Text | None
    driver: Text | None
    persistence: bool | None
    power_limit_w: Positive | None
    min_mhz: Positive | None
    max_mhz: Positive | None
    current_mhz: Positive | None
    temperature_c: Celsius | None
    performance_state: Text | None
    slowed_by: Causes


class BoardState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The board at one moment, as its own script read it; None: not readable there."""

    cpu_model: Text
    architecture: Text
    operating_system: Text
    cores: AtLeastOne
    affinity: tuple[Count, ...]
    memory_bytes: Count | None
    governor: Text | None
    power_mode: Text | None
    current_mhz: Positive | None
    min_mhz: Positive | None
    """Lowest that the governor may choose."""
    max_mhz: Positive | None
    """What the hardware can do."""
    limit_mhz: Positive | None
    """Highest that the governor may choose."""
    gpu: BoardGpu | None
    """None also where the processor measures."""
    board: Text | None
    """Name of the board in its device tree."""
    software: Text | None
    """Of a Jetson: its L4T release."""
    temperature_c: Celsius | None
    """Of the hottest zone."""
    zones_c: dict[Text, Celsius]
    throttled: Count | None
    """Counter of throttling events; of a Raspberry Pi, how many of its flags are up."""
    power_w: NonNegative | None
    power_source: Text | None
    load: NonNegative
    python_version: Text
    numpy_version: Text | None


class Moment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was read cheaply between two rounds."""

    group: Count
    elapsed_s: NonNegative
    temperature_c: Celsius | None
    current_mhz: Positive | None
    gpu_mhz: Positive | None
    """None also where the processor measures, or where it was not yet time to ask again."""
    gpu_c: Celsius | None
    throttled: Count | None
    power_w: NonNegative | None


class Around(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What went on around the readings of a sitting; None where the board does not say."""

    load_s: NonNegative
    """Loading or building the models."""
    timer_share: Share | None
    """Of the shortest reading, what the clock itself makes uncertain."""
    others_cores: NonNegative | None
    """Cores that other programs kept busy, on average."""
    stolen: Share | None
    throttled: Share | None
    """Of the time, during which a control group's quota held the script back."""
    gpu_slowed_by: Causes
    """All that was seen to lower the GPU's clock."""


class BoardSitting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One uninterrupted stretch of a run."""

    began: Text
    before: BoardState
    around: Around
    """Of one that was killed, until some seconds before."""
    after: BoardState | None
    """None: it was killed."""


class MeasuredEnergy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean power in an idle stretch, and in one of nothing but the reference network."""

    source: Text
    idle_w: NonNegative
    busy_w: NonNegative
    idle_s: Positive
    busy_s: Positive
    inferences: AtLeastOne


class PowerRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tegrastats said at one moment of the readings."""

    source: Literal["tegrastats"]
    group: Count
    elapsed_s: NonNegative
    rails_w: Annotated[dict[Text, NonNegative], Meta(max_length=MOST_NAMES)]
    zones_c: Annotated[dict[Text, Celsius], Meta(max_length=MOST_NAMES)]
    cpu_mhz: NonNegative | None
    gpu_mhz: NonNegative | None
    gpu_load: Share | None
    memory_mhz: NonNegative | None
    memory_load: Share | None


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine that was built on the board of one model, and measured."""

    sha256: Sha256
    size_bytes: AtLeastOne


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened to the run."""

    what: Text
    seconds: float


class Results(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``results.json``."""

    schema: int
    sha256: Sha256
    """Digest of all other keys."""
    kit: Sha256
    job: KitDocument
    runtime: Name
    runtime_version: Text
    settings: dict[Text, Text]
    """How the runtime was set, in its own words."""
    engines: tuple[Engine, ...]
    """One for each model of the job where the runtime builds them; else empty."""
    seconds: Positive
    """Asked on the board; the job's unless `--seconds` was given there."""
    least_rounds: AtLeastOne
    sittings: Annotated[tuple[BoardSitting, ...], Meta(min_length=1, max_length=MOST_SITTINGS)]
    started: Text
    date: UtcTime
    energy: MeasuredEnergy | None
    moments: tuple[Moment, ...]
    events: tuple[Event, ...]
    power: Annotated[tuple[PowerRow, ...], Meta(max_length=MOST_POWER_ROWS)]
    """Beside the power in the moments, which comes from the system's files where they say it."""
    readings: tuple[Reading, ...]
    samples: tuple[tuple[Positive, ...], ...]
    """Single runs behind each reading, in milliseconds, where the runtime reports them; else empty."""
