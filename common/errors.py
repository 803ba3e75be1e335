"""The errors of the project: what the user can act on, and what is our own fault."""

import enum


class ExitCode(enum.IntEnum):
    """What the process returns. A number is never given a second meaning; 2 is Click's usage error."""

    OK = 0
    USER_ERROR = 1
    """Bad input, missing file or extra, infeasible budget: the user can act."""
    USAGE = 2
    BUDGET_MISSED = 3
    VERIFICATION_FAILED = 4
    """Parity or accuracy failed; artefacts are kept and marked rejected."""
    CANNOT_TELL = 5
    """The interval straddles the limit, or the machine is not fit to measure."""
    OUR_BUG = 70


class FednasError(Exception):
    """Something the user can mend.

    Args:
        message: what came, and what is allowed.
        hint: what to do next; becomes the end of the one line that the command line prints.
        exit_code: what the process returns for it.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: ExitCode = ExitCode.USER_ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ContractError(Exception):
    """One part of the program broke a promise to another: a bug of ours, never the user's to mend."""
