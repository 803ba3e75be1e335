"""CSV files of architectures: caches, search results, or lists made by hand."""

import csv
import io
from pathlib import Path

from fednas.common import FednasError, read_text
from fednas.toolchain.space.architecture import Architecture, architecture_from_cells
from fednas.toolchain.space.search_space import SearchSpace


def read_architectures(path: Path, space: SearchSpace, what: str = "architecture file") -> tuple[Architecture, ...]:
    """Every row of a CSV file with the columns d, e and w_indices, in order; other columns are ignored.

    Raises `FednasError` that names the row for anything that is no architecture of ``space``.
    """
    text = read_text(path, what)
    if text.lstrip().startswith(("{", "[")):
        raise FednasError(
            f"{what} {path} is JSON, but a CSV file is needed here",
            hint="columns d, e and w_indices make an architecture",
        )
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip() for name in rows.fieldnames or ()]
    if missing := [key for key in ("d", "e", "w_indices") if key not in header]:
        raise FednasError(
            f"{what} {path} lacks the column {' and '.join(missing)}; it has {', '.join(header) or 'nothing'}",
            hint="columns d, e and w_indices make an architecture",
        )
    rows.fieldnames = header
    found = []
    for row in rows:
        try:
            found.append(architecture_from_cells(space, row))
        except FednasError as err:
            raise FednasError(f"{what} {path}, line {rows.line_num}: {err.message}", hint=err.hint) from err
    if not found:
        raise FednasError(f"{what} {path} holds no architecture", hint="add rows with d, e and w_indices")
    return tuple(found)
