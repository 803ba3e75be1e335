"""The Typer group that gives every command the global options and our errors their exit codes."""

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from fednas.common import ExitCode
from fednas.toolchain.cli.errors import our_bugs, user_errors
from fednas.toolchain.cli.output import emit, settings

_GLOBAL_FLAGS = ("--json", "--quiet")


class FednasGroup(TyperGroup):
    """Accepts ``--json`` and ``--quiet`` before or after the command's name."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run the command line and exit with one of the documented codes."""
        given = list(sys.argv[1:] if args is None else args)
        end = given.index("--") if "--" in given else len(given)
        settings.json, settings.quiet = (flag in given[:end] for flag in _GLOBAL_FLAGS)
        settings.document_printed = False
        flags = [flag for flag in _GLOBAL_FLAGS if flag in given[:end]]
        others = [word for i, word in enumerate(given) if i >= end or word not in _GLOBAL_FLAGS]
        try:
            with our_bugs():
                return super().main([*flags, *others], *rest, **options)
        except SystemExit as stop:
            # Click has explained the wrong usage on stderr; the contract wants a document on stdout too.
            if stop.code == int(ExitCode.USAGE) and settings.json and not settings.document_printed:
                message = "wrong usage; stderr says what is wrong"
                emit({"error": {"kind": "UsageError", "message": message, "hint": "", "exit_code": 2}}, "")
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with user_errors():
            return super().invoke(ctx)
