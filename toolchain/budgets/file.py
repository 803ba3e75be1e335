"""The budgets file: TOML in, checked budgets out. Described for users in docs/budgets.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from fednas.common import FednasError, convert, load_toml
from fednas.toolchain.budgets.quantities import QUANTITIES, Quantity
from fednas.toolchain.embedded import embedded_space_path

EXAMPLE = 'schema = 1 [[budget]] name = "jetson" folder = "shipped/jetson" max_latency = "5ms"'
"""On one line, for hints; each key stands on a line of its own in a file."""
_SHOW_EXAMPLE = f"a file holds, line by line: {EXAMPLE}"

LatencyBasis = Literal["measured", "predicted"]


class BudgetForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[budget]]``."""

    name: str
    folder: str | None = None
    space: str | None = None
    architecture: str | None = None
    device: str | None = None
    table: str | None = None
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    latency: LatencyBasis | None = None
    max_latency: str | None = None
    max_size: str | None = None
    max_macs: str | int | None = None
    max_params: str | int | None = None
    min_accuracy: str | float | None = None


class BudgetsForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. Its budgets are read one by one, so that an error can name the budget."""

    schema: Literal[1]
    budget: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class FolderSubject:
    """The model of one precision in a shipped folder."""

    folder: Path


@dataclass(frozen=True, slots=True)
class ArchitectureSubject:
    """An architecture that need not have been exported."""

    space: Path
    architecture: Path
    device: str | None
    """Whose latency is estimated, if there is no table."""
    table: Path | None
    """Predicts the latency; must be of ``device``, if both are given. Both None: latency is not limited."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that a quantity must keep."""

    quantity: Quantity
    value: float
    text: str
    """As the user wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of one model."""

    name: str
    subject: FolderSubject | ArchitectureSubject
    precision: str
    latency: LatencyBasis
    limits: tuple[Limit, ...]


def load_budgets(path: Path) -> tuple[Budget, ...]:
    """Read a budgets file; paths in it are relative to its folder. Raises `FednasError` naming budget and key."""
    what = f"budgets file {path}"
    try:
        form = load_toml(path, BudgetsForm, "budgets file")
    except FednasError as err:
        missing = "missing key" in err.message
        raise FednasError(err.message, hint=_SHOW_EXAMPLE if missing else err.hint) from err
    if not form.budget:
        raise FednasError(f"{what} holds no budget", hint=_SHOW_EXAMPLE)
    budgets: list[Budget] = []
    for number, raw in enumerate(form.budget, start=1):
        place = f"{what}, budget {raw.get('name', f'number {number}')!r}"
        entry = convert(raw, BudgetForm, place)
        with naming(place):
            if any(entry.name == budget.name for budget in budgets):
                raise FednasError("another budget has this name", hint="reports need each name once")
            budgets.append(_budget(entry, path.parent))
    return tuple(budgets)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put ``place`` before the message of any `FednasError`."""
    try:
        yield
    except FednasError as err:
        raise FednasError(f"{place}: {err.message}", hint=err.hint, exit_code=err.exit_code) from err


def _budget(form: BudgetForm, base: Path) -> Budget:
    if not form.name.strip():
        raise FednasError("key name is empty", hint="name the budget; reports show the name")
    values = {key: getattr(form, key) for key in QUANTITIES}
    limits = tuple(
        Limit(QUANTITIES[key], QUANTITIES[key].parse(str(value), f"key {key}"), " ".join(str(value).split()))
        for key, value in values.items()
        if value is not None
    )
    if not limits:
        raise FednasError("it limits nothing", hint=f"add one of {', '.join(QUANTITIES)}")
    if form.latency is not None and form.max_latency is None:
        raise FednasError("key latency has no use without max_latency", hint="add max_latency or remove it")
    subject = _folder_subject(form, base) if form.folder is not None else _architecture_subject(form, base)
    default: LatencyBasis = "measured" if form.folder is not None else "predicted"
    return Budget(
        name=form.name, subject=subject, precision=form.precision, latency=form.latency or default, limits=limits
    )


def _folder_subject(form: BudgetForm, base: Path) -> FolderSubject:
    if extra := [key for key in ("space", "architecture", "device", "table") if getattr(form, key) is not None]:
        raise FednasError(f"keys folder and {extra[0]} exclude each other", hint="the folder knows its architecture")
    return FolderSubject(base / str(form.folder))


def _architecture_subject(form: BudgetForm, base: Path) -> ArchitectureSubject:
    if form.architecture is None:
        raise FednasError("it names nothing to check", hint="give folder, or architecture")
    for key, quantity in QUANTITIES.items():
        if quantity.needs_folder and getattr(form, key) is not None:
            raise FednasError(
                f"key {key} needs a folder: an architecture has no file yet", hint="export it, give folder"
            )
    if form.latency == "measured":
        raise FednasError("an architecture has no measured latency", hint='give folder, or latency = "predicted"')
    if form.max_latency is not None and form.device is None and form.table is None:
        raise FednasError("key max_latency needs device or table", hint="say whose latency is to be predicted")
    table = None if form.table is None else base / form.table
    space = embedded_space_path() if form.space is None else base / form.space
    return ArchitectureSubject(space, base / form.architecture, form.device, table)
