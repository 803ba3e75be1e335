"""The table of contents of the command line: which command lives where."""

from typing import Annotated

import typer

from fednas.toolchain.cli.group import FednasGroup

app = typer.Typer(
    name="fednas-export",
    cls=FednasGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
