"""What a check of a table has to say."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be."""

    level: Level
    """``error``: do not use the table; ``warning``: know it when you do."""
    rule: str
    message: str
