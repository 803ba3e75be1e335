"""How far a kit is, by the last line that its script printed."""

import re
from dataclasses import dataclass

_ROUND = re.compile(r"round (\d{1,9}) of about (\d{1,9})(?:.* \(group (\d{1,9}) of (\d{1,9})\))?")


@dataclass(slots=True)
class KitProgress:
    """Of all groups of a job, never going back."""

    share: float = 0.0
    """Of the job's seconds, 0 to 1: groups share them about evenly."""
    what: str = ""
    """Such as ``round 3, group 2 of 3``."""

    def take_in(self, line: str) -> bool:
        """Whether the line said how far the script is."""
        match = _ROUND.search(line)
        if match is None:
            return False
        of_group = min(1.0, int(match[1]) / max(1, int(match[2])))
        group, groups = int(match[3] or 1), max(1, int(match[4] or 1))
        # A guess of the rounds to come that grows is no step back.
        self.share = max(self.share, min(1.0, max(0.0, (group - 1 + of_group) / groups)))
        self.what = f"round {match[1]}" + (f", group {group} of {groups}" if groups > 1 else "")
        return True
