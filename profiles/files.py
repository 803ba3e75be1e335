"""The device files: their TOML form, and the profiles in them."""

from typing import Literal

import msgspec

from fednas.common import FednasError, convert, decode_toml
from fednas.profiles.profile import DeviceProfile, Figure, TensorRT

_GIB = 2**30


class FigureForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number with its evidence."""

    value: float
    evidence: str
    source: str


class MemoryForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Memory in GiB, with its evidence."""

    gib: float
    evidence: str
    source: str


class TensorRTForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``tensorrt`` of a device."""

    version: str
    strong_typing: bool
    compute_capability: str
    software: str
    evidence: str
    source: str


class DeviceForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[device]]``."""

    name: str
    title: str
    processor: str
    runtime: str
    runtime_version: str
    onnx_opset: int
    precisions: tuple[str, ...]
    peak_tera_macs_per_s: dict[str, FigureForm] = {}
    dram_gb_per_s: FigureForm | None = None
    memory: MemoryForm | None = None
    tensorrt: TensorRTForm | None = None
    power_modes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class FamilyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device file. Its devices are read one by one, so that an error can name the device."""

    schema: Literal[1]
    family: str
    device: list[dict[str, object]]


def profiles_from_toml(text: bytes, what: str, origin: str) -> list[DeviceProfile]:
    """The devices of a file. Raises `FednasError` that names ``what``, the device and the key."""
    family = decode_toml(text, FamilyForm, what)
    if not family.device:
        raise FednasError(f"{what}: key device is empty", hint="describe at least one [[device]]")
    profiles = []
    for number, raw in enumerate(family.device, start=1):
        place = f"{what}, device {raw.get('name', f'number {number}')!r}"
        form = convert(raw, DeviceForm, place)
        try:
            profiles.append(_profile(form, family.family, origin))
        except FednasError as err:
            raise FednasError(f"{place}: {err.message}", hint="mend the file and try again") from err
    return profiles


def _profile(form: DeviceForm, family: str, origin: str) -> DeviceProfile:
    memory = None if form.memory is None else _figure("memory", form.memory)
    dram = None if form.dram_gb_per_s is None else _figure("dram_gb_per_s", form.dram_gb_per_s)
    return DeviceProfile(
        name=form.name,
        title=form.title,
        family=family,
        processor=form.processor,
        runtime=form.runtime,
        runtime_version=form.runtime_version,
        onnx_opset=form.onnx_opset,
        precisions=form.precisions,
        memory_bytes=None if memory is None else round(memory.value * _GIB),
        memory_source="" if memory is None else f"{memory.evidence}: {memory.source}",
        peak_tera_macs_per_s={
            precision: _figure(f"peak_tera_macs_per_s.{precision}", figure)
            for precision, figure in form.peak_tera_macs_per_s.items()
        },
        dram_gb_per_s=dram,
        tensorrt=None if form.tensorrt is None else TensorRT(**msgspec.structs.asdict(form.tensorrt)),
        power_modes=form.power_modes,
        aliases=form.aliases,
        notes=form.notes,
        origin=origin,
    )


def _figure(key: str, form: FigureForm | MemoryForm) -> Figure:
    value = form.gib if isinstance(form, MemoryForm) else form.value
    try:
        return Figure(value=value, evidence=form.evidence, source=form.source)
    except FednasError as err:
        raise FednasError(f"key {key}: {err.message}") from err
