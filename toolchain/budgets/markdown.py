"""The checks as Markdown, for a pull request or a job summary."""

from fednas.toolchain.budgets.checking import BudgetReport

_HEADERS = ("budget", "quantity", "limit", "reading", "interval", "verdict", "reason")


def markdown_text(report: BudgetReport) -> str:
    """A heading with the worst verdict, then one row a limit."""
    lines = [f"## Budgets: {report.verdict}", "", summary(report), ""]
    lines += [_row(_HEADERS), _row(["---"] * len(_HEADERS))]
    for check in report.checks:
        quantity = check.quantity if check.basis == "exact" else f"{check.quantity} ({check.basis})"
        cells = (check.budget, quantity, check.limit_text, check.value_text, check.interval_text)
        lines.append(_row([*map(_escaped, cells), f"**{check.verdict}**", _escaped(check.reason)]))
    return "\n".join(lines) + "\n"


def summary(report: BudgetReport) -> str:
    """``2 met, 1 missed, 0 cannot tell.``"""
    return f"{report.met} met, {report.missed} missed, {report.cannot_tell} cannot tell."


def _row(cells: "list[str] | tuple[str, ...]") -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Text that stays in its cell and is not read as markup or HTML."""
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
