"""``table``: what stands in a latency table, what speaks against it, and what became of it."""

import typer

from fednas.toolchain.cli.table_diff import diff
from fednas.toolchain.cli.table_lint import findings_text, lint
from fednas.toolchain.cli.table_merge import merge
from fednas.toolchain.cli.table_show import show, summary_text
from fednas.toolchain.cli.table_validate import validate

__all__ = ["findings_text", "summary_text", "table_app"]

table_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Show, check, compare and merge tables.")
for command in (show, lint, diff, merge, validate):
    table_app.command()(command)
