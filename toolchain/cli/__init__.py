"""The command line, as a Typer application; the console script starts in `fednas.toolchain.entry`."""

from fednas.toolchain.cli.app import app

__all__ = ["app"]
