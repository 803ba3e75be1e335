"""What to say when a name is unknown: the nearest right ones."""

import difflib
from collections.abc import Iterable

from fednas.common.errors import FednasError

MOST_LISTED = 16
"""Names that are listed beside near ones."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, aliases: Iterable[str] = (), hint: str = ""
) -> FednasError:
    """The error for a name that is not known: the nearest of ``known`` and ``aliases``, then ``known``.

    A long list of known names is left out where there are near ones.
    """
    choices = sorted(set(known))
    near = difflib.get_close_matches(name, {*choices, *aliases}, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    listed = "" if near and len(choices) > MOST_LISTED else f" (known: {', '.join(choices)})"
    return FednasError(f"unknown {kind} {name!r}{meant}{listed}", hint=hint)
