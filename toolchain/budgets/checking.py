"""Check budgets: for every limit a reading, a verdict and the reason for it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fednas.toolchain.budgets.architecture_readings import architecture_readings
from fednas.toolchain.budgets.file import Budget, FolderSubject, Limit, load_budgets, naming
from fednas.toolchain.budgets.folder_readings import folder_readings
from fednas.toolchain.budgets.readings import Known, Missing
from fednas.toolchain.budgets.verdict import Bound, Verdict, overall, verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit of one budget and what came of it."""

    budget: str
    quantity: str
    """Such as ``macs``, or ``verification`` for the state of a shipped folder."""
    basis: str
    """What the reading rests on: ``measured``, ``predicted``, ``estimated`` or ``exact``."""
    bound: Bound | None = None
    """None for ``verification``, which has no number."""
    unit: str = ""
    limit: float | None = None
    limit_text: str
    value: float | None = None
    """None: there is no reading."""
    low: float | None = None
    high: float | None = None
    value_text: str
    interval_text: str = ""
    """Empty for exact readings."""
    verdict: Verdict
    reason: str
    """Empty when the limit is met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """All checks of a budgets file."""

    verdict: Verdict
    """The worst of all."""
    met: int
    missed: int
    cannot_tell: int
    checks: tuple[Check, ...]


def check_budgets(path: Path, profiles: Path | None = None) -> BudgetReport:
    """Check every budget of a file.

    A reading that is missing counts as missed: a guard that cannot see must not let anything pass. Raises
    `FednasError` where the file, or what it names, does not hold.
    """
    checks: list[Check] = []
    for budget in load_budgets(path):
        with naming(f"budget {budget.name!r}"):
            checks += _checks_of(budget, profiles)
    verdicts = [check.verdict for check in checks]
    return BudgetReport(
        verdict=overall(verdicts),
        met=verdicts.count("met"),
        missed=verdicts.count("missed"),
        cannot_tell=verdicts.count("cannot tell"),
        checks=tuple(checks),
    )


def _checks_of(budget: Budget, profiles: Path | None) -> Iterable[Check]:
    if isinstance(budget.subject, FolderSubject):
        readings = folder_readings(budget.subject, budget)
    else:
        readings = architecture_readings(budget.subject, budget, profiles)
    if readings.state is not None:
        yield Check(
            budget=budget.name,
            quantity="verification",
            basis="exact",
            limit_text="not rejected",
            value_text=readings.state.text,
            verdict="missed" if readings.state.failure else "met",
            reason=readings.state.failure,
        )
    for limit in budget.limits:
        yield _check(budget, limit, readings.of(limit.quantity))


def _check(budget: Budget, limit: Limit, found: Known | Missing) -> Check:
    quantity = limit.quantity
    unseen = Check(
        budget=budget.name,
        quantity=quantity.name,
        basis=found.basis,
        bound=quantity.bound,
        unit=quantity.unit,
        limit=limit.value,
        limit_text=f"{quantity.bound} {limit.text}",
        value_text="none",
        verdict="missed",
        reason="no reading",
    )
    if isinstance(found, Missing):
        return replace(unseen, reason=f"no reading: {found.why}")
    reading = found.reading
    verdict = verdict_of(quantity.bound, limit.value, reading)
    return replace(
        unseen,
        value=reading.value,
        low=reading.low,
        high=reading.high,
        value_text=quantity.show(reading.value),
        interval_text="" if reading.exact else f"{quantity.show(reading.low)} to {quantity.show(reading.high)}",
        verdict=verdict,
        reason=_reason(verdict, limit, found),
    )


def _reason(verdict: Verdict, limit: Limit, found: Known) -> str:
    if verdict == "met":
        return ""
    reading = found.reading
    if verdict == "cannot tell":
        return f"the limit lies inside the interval ({found.interval})"
    ratio = reading.value / limit.value
    if ratio >= 2:
        return f"{ratio:.4g} times the limit"
    return f"{100 * abs(ratio - 1):.3g} % {'above' if ratio > 1 else 'below'} the limit"
