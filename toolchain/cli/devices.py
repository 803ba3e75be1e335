"""``devices``: which devices there are, and every fact about one."""

import textwrap
from collections.abc import Iterable

import typer

from fednas.profiles import DeviceProfile, Figure, find_profile, load_profiles
from fednas.toolchain.cli.options import ProfilesOption
from fednas.toolchain.cli.output import WIDTH, emit, table

devices_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, no_args_is_help=False)
_RUNTIME_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "ncnn": "ncnn", "tensorrt": "TensorRT"}


@devices_app.callback()
def devices(context: typer.Context, profiles: ProfilesOption = None) -> None:
    """List the devices, built-in and your own; `devices show NAME` tells everything about one."""
    context.obj = profiles
    if context.invoked_subcommand is None:
        known = list(load_profiles(profiles).values())
        emit(known, devices_text(known))


@devices_app.command()
def show(context: typer.Context, name: str, profiles: ProfilesOption = None) -> None:
    """Show every fact about a device, with the kind of evidence behind each figure and its source."""
    profile = find_profile(name, profiles or context.obj)
    emit(profile, device_text(profile))


def devices_text(profiles: Iterable[DeviceProfile]) -> str:
    """One line a device, then the aliases."""
    profiles = list(profiles)
    rows = [(p.name, p.title, _runtime(p), " ".join(p.precisions)) for p in profiles]
    aliases = ", ".join(f"{alias} = {p.name}" for p in profiles for alias in p.aliases)
    footer = textwrap.fill(f"Aliases: {aliases}.", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    more = "`fednas-export devices show NAME` tells every fact about one, with its source."
    return "\n\n".join([table(rows, ("device", "what it is", "runtime", "precisions")), footer, more])


def device_text(profile: DeviceProfile) -> str:
    """The facts of one device as lines, a table of figures and notes."""
    facts = "\n".join(_wrapped(f"  {key:<12} ", value) for key, value in _facts(profile))
    figures = table(_figure_rows(profile), ("figure", "value", "evidence", "source"))
    notes = "\n".join(_wrapped("- ", note) for note in profile.notes)
    return "\n\n".join(part for part in (profile.title, facts, figures, notes) if part)


def _facts(profile: DeviceProfile) -> list[tuple[str, str]]:
    facts = [
        ("device", profile.name),
        ("family", profile.family),
        ("runs on", profile.processor),
        ("runtime", _runtime(profile)),
        ("ONNX opset", str(profile.onnx_opset)),
        ("precisions", ", ".join(profile.precisions)),
        ("power modes", ", ".join(profile.power_modes) or "none on record"),
        ("aliases", ", ".join(profile.aliases) or "none"),
        ("read from", profile.origin),
    ]
    if trt := profile.tensorrt:
        typing = "strongly typed (precision stands in the file)" if trt.strong_typing else "precision is a flag"
        facts.insert(4, ("TensorRT", f"{trt.version} of {trt.software}, {typing}; {trt.evidence}: {trt.source}"))
        facts.insert(5, ("GPU", f"compute capability {trt.compute_capability}"))
    return facts


def _figure_rows(profile: DeviceProfile) -> list[tuple[str, str, str, str]]:
    peaks = profile.peak_tera_macs_per_s
    rows = [(f"peak {precision}", *_figure(peaks.get(precision), "tera-MACs/s")) for precision in profile.precisions]
    rows.append(("memory bandwidth", *_figure(profile.dram_gb_per_s, "GB/s")))
    rows.append(("memory", *_memory(profile)))
    return rows


def _figure(figure: Figure | None, unit: str) -> tuple[str, str, str]:
    if figure is None:
        return "not on record", "", ""
    return f"{figure.value:.4g} {unit}", figure.evidence, figure.source


def _memory(profile: DeviceProfile) -> tuple[str, str, str]:
    if profile.memory_bytes is None:
        return "not on record", "", ""
    evidence, _, source = profile.memory_source.partition(": ")
    return f"{profile.memory_bytes / 2**30:.3g} GiB", evidence, source


def _runtime(profile: DeviceProfile) -> str:
    return f"{_RUNTIME_NAMES[profile.runtime]} {profile.runtime_version}"


def _wrapped(start: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
