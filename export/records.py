"""The base of every record that a shipped folder holds."""

import msgspec


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen piece of a file format: read strictly, unknown keys refused, written in the order of its fields.

    Subclasses say ``frozen=True, kw_only=True`` themselves: type checkers and msgspec do not inherit these.
    """
