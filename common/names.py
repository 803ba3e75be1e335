"""What to say when a name is unknown: the nearest right ones."""

import difflib
from collections.abc import Iterable

from fednas.common.errors import FednasError


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, aliases: Iterable[str] = (), hint: str = ""
) -> FednasError:
    """The error for a name that is not known: the nearest of ``known`` and ``aliases``, then all of ``known``."""
    choices = sorted(set(known))
    near = difflib.get_close_matches(name, {*choices, *aliases}, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return FednasError(f"unknown {kind} {name!r}{meant} (known: {', '.join(choices)})", hint=hint)
