"""The whole result in a few words: what was verified, and which budgets are met, missed or open."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from fednas.export.manifest import Model, Shipment, Status, Verdict

Tone = Literal["verified", "unverified", "rejected", "missed", "undecided"]
"""What colours a page; each is a class of its style."""
ACCURACY_LIMIT = "accuracy limit"
_WORST_FIRST: tuple[Verdict, ...] = ("missed", "cannot tell", "met")


NAMES = {"macs": "MACs"}
"""Of quantities that are not called as they are written in files."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status together with the verdicts on all that was asked for."""

    status: Status
    verdicts: tuple[tuple[str, Verdict], ...]
    """What was limited, such as ``latency budget``, and what came of it."""

    @classmethod
    def of(cls, status: Status, shipment: Shipment, models: Sequence[Model]) -> Self:
        """Of a folder: its budgets, and the limit on lost accuracy if there was one."""
        budgets = [
            (f"{NAMES.get(budget.quantity, budget.quantity)} budget", budget.verdict) for budget in shipment.budgets
        ]
        drops = [evidence.drop for model in models for evidence in model.all_evidence]
        found = {drop.verdict for drop in drops if drop is not None}
        accuracy = [(ACCURACY_LIMIT, verdict) for verdict in _WORST_FIRST if verdict in found]
        return cls(status, (*budgets, *accuracy[:1]))

    @property
    def tone(self) -> Tone:
        """The worst of it."""
        found = {verdict for _, verdict in self.verdicts}
        if self.status == "rejected":
            return "rejected"
        if "missed" in found:
            return "missed"
        return "undecided" if "cannot tell" in found and self.status == "verified" else self.status

    def __str__(self) -> str:
        parts = [
            f"{_listed(what for what, verdict in self.verdicts if verdict == wanted)} {words}"
            for wanted, words in (("missed", "missed"), ("cannot tell", "undecided"))
            if any(verdict == wanted for _, verdict in self.verdicts)
        ]
        if parts:
            return f"{self.status}, but {' and '.join(parts)}"
        return f"{self.status}, {_listed(what for what, _ in self.verdicts)} met" if self.verdicts else self.status


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
