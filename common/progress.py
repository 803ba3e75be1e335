"""How long jobs report how far they are, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with the units done, the units in all, and a few words."""

    def __call__(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` units are finished."""


def silent(done: float, total: float, what: str = "") -> None:
    """Report to nobody."""
