"""The table of contents of the command line: which command lives where."""

from typing import Annotated

import typer

from fednas.toolchain.cli.cache import cache
from fednas.toolchain.cli.check import check
from fednas.toolchain.cli.devices import devices_app
from fednas.toolchain.cli.doctor import doctor
from fednas.toolchain.cli.evaluate import evaluate
from fednas.toolchain.cli.group import FednasGroup
from fednas.toolchain.cli.score import score
from fednas.toolchain.cli.search import search
from fednas.toolchain.cli.train import train
from fednas.toolchain.cli.verify import verify

app = typer.Typer(
    name="fednas-export",
    cls=FednasGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (search, score, cache, train, evaluate, check, verify, doctor):
    app.command()(command)
app.add_typer(devices_app, name="devices")


@app.callback(invoke_without_command=True)
def fednas_export(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on stderr but warnings and errors.")] = False,
) -> None:
    """Export the best subnet of a federated supernet for a device."""
