"""From option values to domain objects, the same way in every command."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fednas.common import FednasError, parse_bytes, parse_count, parse_latency_ms, unknown_name
from fednas.toolchain.cli.output import warn

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyModel
    from fednas.toolchain.search.request import Budgets
    from fednas.toolchain.space import Accounting, SearchSpace

ACCOUNTINGS: dict[str, "Accounting"] = {"network": "network", "published": "published"}


def accounting_from(text: str) -> "Accounting":
    """Raises `FednasError` for anything but ``network`` and ``published``."""
    if text not in ACCOUNTINGS:
        raise unknown_name("accounting", text, ACCOUNTINGS)
    return ACCOUNTINGS[text]


def given_parameters(context: typer.Context) -> set[str]:
    """Names of the parameters that stood on the command line, such as ``max_macs``."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def finite_seconds(value: float) -> float:
    """An option's callback: click's lowest value lets ``nan`` pass, and ``inf`` never ends."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number of seconds; give one such as 6.")
    return value


def refuse_input(option: str, path: Path, *inputs: Path | None) -> None:
    """Raise `FednasError` if what ``option`` would write to is one of the inputs, under whatever name."""
    for given in inputs:
        if given is not None and path.exists() and given.exists() and path.samefile(given):
            raise FednasError(
                f"{option} {path} is one of the inputs", hint="name another file; no input is overwritten"
            )


def space_from(space: Path | None, supernet: Path | None = None) -> "SearchSpace":
    """The space of a space file, of a supernet file, or the embedded one if neither is given."""
    if space is not None and supernet is not None:
        raise FednasError("both --space and --supernet were given", hint="give one: a supernet holds its space")
    if supernet is not None:
        from fednas.toolchain.supernet import read_supernet_header

        return read_supernet_header(supernet).space
    from fednas.toolchain.embedded import embedded_space_path
    from fednas.toolchain.space import load_space

    return load_space(embedded_space_path() if space is None else space)


def latency_from(device: str | None, table: Path | None, precision: str, profiles: Path | None) -> "LatencyModel":
    """As `latency_model`, with a warning for each reason not to rely on the table."""
    from fednas.toolchain.latency import doubts_about, latency_model

    model = latency_model(device, table, precision, profiles)
    for doubt in doubts_about(model):
        warn(doubt)
    return model


def budgets_from(
    latency: str | None, macs: str | None, params: str | None, size: str | None, *, of_file: bool = False
) -> "Budgets":
    """Budgets from options; raises `FednasError` that names the option.

    ``of_file``: the size is that of the ONNX file, not of the bare weights.
    """
    from fednas.toolchain.search.request import Budgets

    size_bytes = None if size is None else parse_bytes(size, "--max-size")
    return Budgets(
        latency_ms=None if latency is None else parse_latency_ms(latency, "--max-latency"),
        macs=None if macs is None else parse_count(macs, "--max-macs"),
        params=None if params is None else parse_count(params, "--max-params"),
        weight_bytes=None if of_file else size_bytes,
        file_bytes=size_bytes if of_file else None,
    )
