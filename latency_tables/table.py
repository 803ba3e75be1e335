"""The latency table: what was measured, on what, how well, and how far it can be trusted. A JSON file."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from fednas.common import (
    ContractError,
    PlainText,
    UtcTime,
    decode_versioned,
    encode_json,
    read_bytes,
    write_atomic,
)
from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut
from fednas.latency_tables.fields import (
    AtLeastOne,
    Checked,
    Count,
    Latency,
    Name,
    NonNegative,
    Positive,
    Precision,
    Share,
    in_order,
)

SCHEMA = 1
Origin = Literal["measured", "modelled", "estimated"]
SpaceRecord = dict[str, bool | int | float | str | tuple[int | float, ...] | None]
"""A search space as its own file has it: keys and values are for the toolchain to read."""


class TableEntry(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """What one block costs, measured alone. The first seven fields are those of `BlockSpec`."""

    kind: BlockKind
    in_channels: AtLeastOne
    mid_channels: Count
    out_channels: AtLeastOne
    in_hw: AtLeastOne
    stride: AtLeastOne
    shortcut: Shortcut
    median_ms: Latency
    """Of the readings after correction for the machine's drift."""
    p10_ms: Latency | None = None
    """Tenth and ninetieth percentile, where there are readings enough to claim them (`readings_needed`); else None."""
    p90_ms: Latency | None = None
    samples: Count
    """Readings; 0 where nothing was measured."""
    loads: Count = 0
    """Times that it was loaded and read anew; 0 where nothing was measured, or it is not on record."""
    spread: NonNegative
    """Standard error of the median as a share of it: from the readings' median absolute deviation or, if that is more,
    from how blocks of about its latency differ from load to load. One that is loaded once more may lie farther off."""
    origin: Origin
    smoothed_ms: Latency | None = None
    """The median drawn to the block model, as far as whole networks bore that out; None: not drawn at all."""
    sources: tuple[Count, ...] = ()
    """Of a merged table: the places in ``sources`` of the tables that it came from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not in_order(self.p10_ms, self.median_ms, self.p90_ms):
            raise ValueError(f"{self.spec.key}: p10_ms <= median_ms <= p90_ms does not hold")

    @property
    def alone_ms(self) -> float:
        """What the block alone is taken to cost: predictions start from it."""
        return self.median_ms if self.smoothed_ms is None else self.smoothed_ms

    @cached_property
    def spec(self) -> BlockSpec:
        """The block that this entry prices."""
        try:
            return BlockSpec(
                kind=self.kind,
                in_channels=self.in_channels,
                mid_channels=self.mid_channels,
                out_channels=self.out_channels,
                in_hw=self.in_hw,
                stride=self.stride,
                shortcut=self.shortcut,
            )
        except ContractError as err:
            raise ValueError(str(err)) from err


class Calibration(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From blocks measured alone to blocks inside a network, fitted on whole networks.

    contribution = scale * median - overhead - reorder * numbers crossing the block's border + cold * weights.
    A block alone pays for a call of the runtime and for bringing its input and output into the runtime's own
    layout, which a network pays once; and its weights lie in the cache, which those of a network do not.
    """

    intercept_ms: NonNegative = 0.0
    scale: Positive = 1.0
    overhead_ms: NonNegative = 0.0
    reorder_ms_per_number: NonNegative = 0.0
    cold_ms_per_weight: NonNegative = 0.0
    crowding_per_ms: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """latency = sum + crowding * sum squared, where sum is the intercept and all contributions: see `crowded_ms`."""
    networks: Count = 0
    """Whole networks that it was fitted on; 0: not calibrated, the plain sum of the entries."""


class Interval(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prediction interval, multiplicative: latency / factor .. latency * factor."""

    coverage: Share
    factor: Annotated[float, Meta(ge=1)]
    machine_factor: Annotated[float, Meta(ge=1)] = 1.0
    """What the machine's own wandering speed asks for; ``factor`` holds it already, beside the table's error."""


class Report(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the table predicts whole networks that were kept out of its calibration. Errors are shares."""

    subnets: AtLeastOne
    mape: NonNegative
    within_5: Share
    within_10: Share
    kendall_tau: Annotated[float, Meta(ge=-1, le=1)]
    interval_coverage: Share
    """Share of the held-out networks inside the interval made without them."""
    repeatability_mape: NonNegative
    """Mean difference between two measurements of the same networks in one session: loaded again, where the plan has
    several passes, else between even and odd readings."""


class NetworkReading(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole network that was measured, beside what the table says of it."""

    role: Literal["calibration", "held-out"]
    """Whether the fit saw it."""
    blocks: tuple[Count, ...]
    """Its blocks in order, as places in the table's entries."""
    median_ms: Latency
    """Of the readings after correction for the machine's drift."""
    p10_ms: Latency | None = None
    """As in entries."""
    p90_ms: Latency | None = None
    samples: AtLeastOne
    predicted_ms: Latency

    def __post_init__(self) -> None:
        super().__post_init__()
        if not in_order(self.p10_ms, self.median_ms, self.p90_ms):
            raise ValueError(
                f"a {self.role} network of {self.median_ms} ms: p10_ms <= median_ms <= p90_ms does not hold"
            )


class GpuState(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings and state of an NVIDIA GPU at one moment. None: not readable there."""

    driver: PlainText | None = None
    """Version of the driver; of a Jetson, of its Linux for Tegra."""
    persistence: bool | None = None
    """Whether the driver stays loaded while nothing uses the card."""
    power_limit_w: Positive | None = None
    min_mhz: Positive | None = None
    """Lowest clock that it is allowed, where that is told."""
    max_mhz: Positive | None = None
    """Highest clock that it can take; of a Jetson, that it is allowed."""
    current_mhz: Positive | None = None
    temperature_c: float | None = None
    performance_state: PlainText | None = None
    """From ``P0``, the fastest, on."""
    slowed_by: tuple[PlainText, ...] = ()
    """What lowered its clock at that moment, such as ``heat (software)``."""


class Machine(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fingerprint of what measured, and the state it was in. None: could not be read there."""

    cpu_model: PlainText
    architecture: PlainText
    operating_system: PlainText
    cores: AtLeastOne
    affinity: tuple[int, ...]
    """Cores that the process may use."""
    memory_bytes: int | None = None
    governor: PlainText | None = None
    power_mode: PlainText | None = None
    """By its name, not by its number: the numbers differ from module to module."""
    current_mhz: Positive | None = None
    """Highest of the usable cores' clocks at that moment."""
    min_mhz: Positive | None = None
    max_mhz: Positive | None = None
    """What the hardware can do."""
    limit_mhz: Positive | None = None
    """What it is allowed to do now; heat and power modes lower it."""
    locked: bool | None = None
    """Whether the clocks cannot move: lowest and highest allowed clock are one, or the governor is ``performance``."""
    temperature_c: float | None = None
    """Of the hottest thermal zone."""
    throttle_events: Count | None = None
    """Times that heat or low voltage has slowed the processor since it started, as far as the system counts them."""
    capacities: tuple[int, ...] = ()
    """Relative speeds of the usable cores where they are not all of one kind (big.LITTLE), without repetition."""
    gpu: PlainText | None = None
    """As its driver calls the GPU that measured; None where the processor did, or where nothing said."""
    gpu_state: GpuState | None = None
    python_version: PlainText
    numpy_version: PlainText


class Session(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the measuring went."""

    plan: PlainText
    sittings: AtLeastOne = 1
    """Runs that took readings: one more for each `--resume`. What follows holds the worst of them."""
    seconds: NonNegative
    """Spent on readings, warm-up between them included."""
    readings: Count
    interrupted: Share
    """Of the readings, those during which the system ran another program on our core."""
    reference_ms: Positive
    """Median of the reference network, the largest of the space, read in every round; not corrected for drift."""
    reference_p10_ms: Positive
    reference_p90_ms: Positive
    drift_low: Positive
    """The machine's speed around a reading against the session's median: 5th and 95th percentile."""
    drift_high: Positive
    halves_ratio: Positive
    """How slow the machine was in the second half of the session, over the first: heat shows here."""
    load_before: NonNegative
    """Average number of running processes in the last minute."""
    load_after: NonNegative
    build_s: NonNegative | None = None
    """Making the models; not part of ``seconds``."""
    load_s: NonNegative | None = None
    """Loading them in the runtime, first run included; not part of ``seconds``."""
    timer_share: Share | None = None
    """Of the shortest reading, what the clock makes uncertain."""
    stops: Count = 0
    """Readings during which the machine stood still: suspended, or a clock that jumped."""
    outliers: Count = 0
    """Readings more than ten standard deviations off their candidate's median; all are kept."""
    others_cores: NonNegative | None = None
    """Cores that other programs kept busy, on average."""
    stolen: Share | None = None
    """Of the time of all cores, what the host of a virtual machine took away."""
    throttled: Share | None = None
    """Of the session, during which the container's processor quota held this process back."""
    clock_low_mhz: Positive | None = None
    """Lowest of the clocks seen between readings; `Machine` holds those before and after."""
    clock_high_mhz: Positive | None = None
    hottest_c: float | None = None
    gpu_clock_low_mhz: Positive | None = None
    gpu_clock_high_mhz: Positive | None = None
    gpu_hottest_c: float | None = None
    gpu_slowed_by: tuple[PlainText, ...] = ()
    """All that was seen to lower the GPU's clock."""
    slowness: tuple[Positive, ...] = ()
    """How slow the machine was over the session, in equal parts of its readings; 1 is the session's median."""
    readings_sha256: str = ""
    """Of the file of raw readings that was written beside the table; empty: none was kept."""
    remarks: tuple[PlainText, ...] = ()
    """What was wrong with the machine; not empty only in tables that were accepted all the same."""


class LayerUse(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the runtime's own times of single layers, taken of the calibration networks."""

    networks: AtLeastOne
    attributed: Share
    """Of the time of all layers, that of layers which belong to one block each."""
    strangers: Count
    """Layers that do not, such as changes of layout, a network on average."""
    used: bool
    """Whether the fit took them: only if it then predicts calibration networks outside of it better."""
    error_without: NonNegative | None = None
    """Mean error on calibration networks outside the fit; None where too little could be attributed to try."""
    error_with: NonNegative | None = None
    failed: PlainText = ""
    """Why the runtime gave no profile; empty if it gave one."""


class Energy(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What running the reference network costs, by the machine's own power meter, in a stretch of its own."""

    source: PlainText
    """What reported it, such as ``INA3221`` or ``RAPL``."""
    rail: PlainText
    """What the figure includes: ``VDD_IN`` is a whole board, ``package-0`` a processor alone."""
    busy_w: NonNegative
    """Mean power while the reference network ran, again and again."""
    idle_w: NonNegative
    """Mean power just before, with nothing of ours running; not subtracted from ``busy_w``."""
    busy_s: Positive
    idle_s: Positive
    inferences: AtLeastOne
    millijoules: NonNegative
    """For one batch through the reference network, idle power included."""
    millijoules_above_idle: NonNegative
    """The same with idle power subtracted; zero where the meter saw no difference."""


class Source(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table that a merged one was made of: where and when its entries were measured."""

    name: PlainText
    """Of its file."""
    sha256: str
    date: UtcTime
    tool_version: PlainText
    machine: Machine
    session: Session
    speed: Positive
    """What its readings were divided by, to bring them to the speed of the first source's session."""


class LatencyTable(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the blocks of a search space cost on one device."""

    schema: Literal[1] = 1
    device: Name
    kind: Literal["measured"] = "measured"
    runtime: Name
    runtime_version: PlainText
    precision: Precision
    batch: AtLeastOne
    threads: AtLeastOne
    date: UtcTime
    tool_version: PlainText
    machine: Machine
    """Before the first reading."""
    machine_after: Machine | None = None
    """After the last one."""
    session: Session
    layers: LayerUse | None = None
    """None: the runtime was not asked for times of layers, or gives none."""
    energy: Energy | None = None
    """None: nothing on this machine reports power."""
    calibration: Calibration = Calibration()
    interval: Interval | None = None
    """None: nothing says how wrong a prediction may be, so none is made."""
    report: Report | None = None
    networks: tuple[NetworkReading, ...] = ()
    space: SpaceRecord | None = None
    """The search space that was profiled; None where it is not known, as in merged tables of several spaces."""
    sources: tuple[Source, ...] = ()
    """Of a merged table: what it was made of. ``session`` then holds the worst of theirs."""
    entries: tuple[TableEntry, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.entries:
            raise ValueError("the table has no entries")
        seen: set[BlockSpec] = set()
        for entry in self.entries:
            if entry.spec in seen:
                raise ValueError(f"block {entry.spec.key} stands in the table twice")
            seen.add(entry.spec)
        if any(place >= len(self.entries) for network in self.networks for place in network.blocks):
            raise ValueError("networks names a block that is not among the entries")
        if any(place >= len(self.sources) for entry in self.entries for place in entry.sources):
            raise ValueError("an entry names a source that is not among the sources")

    def to_json(self) -> str:
        """The content of the file."""
        return encode_json(self)


def load_table(path: Path) -> LatencyTable:
    """Read a table; raises `FednasError` naming the key for anything that is not exactly right."""
    return table_from_json(read_bytes(path, "latency table"), f"latency table {path}")


def table_from_json(data: bytes | str, what: str) -> LatencyTable:
    """As `load_table`, from memory; ``what`` names the source in errors."""
    again = "copy the file again, completely, or profile the device again"
    return decode_versioned(data, LatencyTable, what, SCHEMA, again=again)


def save_table(table: LatencyTable, path: Path) -> None:
    """Write a table atomically; raises `FednasError` when the place is not writable."""
    write_atomic(path, table.to_json())


def readings_path(table: Path) -> Path:
    """Where the raw readings of a table are kept: beside it."""
    return table.with_name(f"{table.name.removesuffix('.json')}.readings.jsonl")
