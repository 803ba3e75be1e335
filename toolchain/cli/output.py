"""How every command speaks: one JSON document or a text on stdout; progress and warnings on stderr."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from fednas.common import FednasError, Progress, encode_json, silent

WIDTH = 100
"""Columns that every table fits."""
_NARROWEST = 12
"""A column is not wrapped to less than this."""


@dataclass(slots=True)
class Settings:
    """The global options of this process."""

    json: bool = False
    quiet: bool = False
    document_printed: bool = False
    """Whether the one JSON document is out."""


settings = Settings()


def emit(document: object, text: str) -> None:
    """Print the result of a command: ``document`` as JSON with ``--json``, else ``text``."""
    try:
        sys.stdout.write(encode_json(document) if settings.json else text.rstrip("\n") + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as err:
        raise FednasError(
            f"the result cannot be written to stdout: {err.strerror or err}", hint="free some space or redirect it"
        ) from err
    settings.document_printed = True


def note(text: str) -> None:
    """Say something that is not the result: to stderr, unless ``--quiet``."""
    if not settings.quiet:
        print(text, file=sys.stderr)  # noqa: T201 - this is the one place that prints


def warn(text: str) -> None:
    """Say what the user must know even with ``--quiet``."""
    print(f"warning: {text}", file=sys.stderr)  # noqa: T201


def table(rows: Iterable[Sequence[object]], headers: Sequence[str], *, align: Sequence[str] | None = None) -> str:
    """A plain table; wide text columns are wrapped so that it fits `WIDTH` columns."""
    from tabulate import tabulate

    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return tabulate(
        cells,
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=align if cells else None,
        maxcolwidths=_column_widths(cells, headers),
    )


def wrapped(start: str, text: str) -> str:
    """``text`` after ``start``, its further lines under its first."""
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))


def facts_text(facts: Iterable[tuple[str, str]]) -> str:
    """A line for each name with its sentence, aligned; a name that repeats is said once."""
    lines, before = [], ""
    for name, text in facts:
        lines.append(wrapped(f"{'' if name == before else name:<14} ", text))
        before = name
    return "\n".join(lines)


def _column_widths(cells: list[list[str]], headers: Sequence[str]) -> list[int | None] | None:
    # tabulate makes every column at least two wider than its header.
    widths = [max([len(h) + 2, *(len(row[i]) for row in cells)]) for i, h in enumerate(headers)]
    limits = list(widths)
    while sum(limits) + 2 * (len(limits) - 1) > WIDTH and max(limits) > _NARROWEST:
        limits[limits.index(max(limits))] -= 1
    if limits == widths:
        return None
    return [limit if limit < width else None for limit, width in zip(limits, widths, strict=True)]


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on stderr; silent when stderr is no terminal or with ``--quiet``."""
    if settings.quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[what]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None, what="")
        yield lambda done, total, what="": bars.update(task, completed=done, total=total, what=what)


def as_json(value: object) -> object:
    """Plain JSON values of dataclasses and structures."""
    return msgspec.to_builtins(value)
