"""What went wrong on a board, and what to do about it."""


class BoardProblem(Exception):  # noqa: N818  (what it is called on the board's screen)
    """Something that whoever stands at the board can mend; becomes one line."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("%s; %s" % (message, hint) if hint else message)
        self.message = message
        self.hint = hint


class UnableBoard(BoardProblem):
    """Nothing on this board can build an engine, whatever the settings."""
