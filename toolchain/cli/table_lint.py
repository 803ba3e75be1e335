"""``table lint``: what speaks against a table, without the device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, FednasError
from fednas.toolchain.cli.options import SpaceOption, SupernetOption, TableArgument
from fednas.toolchain.cli.output import emit, table
from fednas.toolchain.cli.parsing import space_from

if TYPE_CHECKING:
    from fednas.latency_tables import BlockSpec, Finding, LatencyTable


def lint(
    file: TableArgument,
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Another table, from which no entry should be copied; may be repeated.")
    ] = None,
) -> None:
    """Look for faults: no or a poor report, larger blocks that are faster, no signal, copied entries, odd spread.

    Also: entries or networks changed afterwards, raw readings beside the table that are not its own, sources of
    different machines, and blocks of the space (of --space, --supernet, or the table itself) that are missing.
    Exit code 1 if there is an error, 0 if there are only warnings or nothing.
    """
    from fednas.latency_tables import lint as lint_table
    from fednas.latency_tables import lint_readings, load_table

    found = load_table(file)
    findings = lint_table(found, blocks=_wanted(found, file, space, supernet), others=_others(file, against or []))
    findings = sorted([*findings, *lint_readings(found, file)], key=lambda finding: finding.level)
    emit({"findings": findings}, findings_text(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(code=int(ExitCode.USER_ERROR))


def findings_text(findings: "Sequence[Finding]") -> str:
    """One row a finding."""
    if not findings:
        return "no findings"
    return table([(f.level, f.rule, f.message) for f in findings], ("level", "rule", "finding"))


def _wanted(found: "LatencyTable", file: Path, space: Path | None, supernet: Path | None) -> "tuple[BlockSpec, ...]":
    """Every block of the space that was given, else of the table's own; empty if neither is known."""
    if space is None and supernet is None and found.space is None:
        return ()
    from fednas.toolchain.space import distinct_blocks, space_of_table

    given = space is not None or supernet is not None
    wanted = space_from(space, supernet) if given else space_of_table(found, f"latency table {file}")
    return () if wanted is None else distinct_blocks(wanted)


def _others(file: Path, against: Sequence[Path]) -> "Mapping[str, LatencyTable]":
    from fednas.latency_tables import load_table

    for path in against:
        if path.exists() and file.exists() and path.samefile(file):
            raise FednasError(f"--against {path} is the table itself", hint="name other tables")
    return {path.name: load_table(path) for path in against}
