"""``check``: budgets against shipped folders and architectures."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, FednasError, write_atomic
from fednas.toolchain.cli.options import ProfilesOption
from fednas.toolchain.cli.output import WIDTH, emit, note, table

if TYPE_CHECKING:
    from fednas.toolchain.budgets import BudgetReport

_EXIT_CODES = {"met": ExitCode.OK, "missed": ExitCode.BUDGET_MISSED, "cannot tell": ExitCode.CANNOT_TELL}


def check(
    budgets: Annotated[Path, typer.Argument(help="Budgets file (TOML); paths in it are relative to its folder.")],
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write Markdown to this file.")] = None,
    profiles: ProfilesOption = None,
) -> None:
    """Check budgets: met, missed or cannot tell, from the whole interval of each reading.

    Exit code 0: all met; 3: at least one missed, or without a reading; 5: none missed, but some cannot be told.
    """
    from fednas.toolchain.budgets import check_budgets, junit_xml, markdown_text

    if junit is not None and junit == markdown:
        raise FednasError(f"--junit and --markdown both name {junit}", hint="give each a file of its own")
    report = check_budgets(budgets, profiles)
    for path, text_of in ((junit, junit_xml), (markdown, markdown_text)):
        if path is not None:
            write_atomic(path, text_of(report))
            note(f"wrote {path}")
    emit(report, check_text(report))
    raise typer.Exit(code=int(_EXIT_CODES[report.verdict]))


def check_text(report: "BudgetReport") -> str:
    """One line a limit, the reasons below, and the sum."""
    from fednas.toolchain.budgets import summary

    rows = [
        (c.budget, c.quantity, c.basis, c.limit_text, c.value_text, c.interval_text, c.verdict) for c in report.checks
    ]
    shown = table(rows, ("budget", "quantity", "basis", "limit", "reading", "interval", "verdict"))
    reasons = [_wrapped(f"{c.verdict}: {c.budget}, {c.quantity}: {c.reason}") for c in report.checks if c.reason]
    return "\n\n".join(part for part in (shown, "\n".join(reasons), summary(report)) if part)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")
