"""Budgets: limits written in a file, each met, missed or beyond telling."""

from fednas.toolchain.budgets.checking import BudgetReport, Check, check_budgets
from fednas.toolchain.budgets.file import Budget, load_budgets
from fednas.toolchain.budgets.junit import junit_xml
from fednas.toolchain.budgets.markdown import markdown_text, summary
from fednas.toolchain.budgets.verdict import Reading, Verdict, exactly, overall, verdict_of

__all__ = [
    "Budget",
    "BudgetReport",
    "Check",
    "Reading",
    "Verdict",
    "check_budgets",
    "exactly",
    "junit_xml",
    "load_budgets",
    "markdown_text",
    "overall",
    "summary",
    "verdict_of",
]
