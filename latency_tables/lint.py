"""What speaks against a latency table, found without the device: the faults seen in published tables.

Each rule answers one that was met in the wild: tables whose larger blocks are faster, tables of a launch-bound GPU
where every block costs the same, entries copied from another device, and no word about the error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fednas.common import sha256_of
from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.finding import Finding
from fednas.latency_tables.lint_entries import ENTRY_RULES, copied_from, missing
from fednas.latency_tables.lint_outliers import outlying
from fednas.latency_tables.lint_record import RECORD_RULES
from fednas.latency_tables.lint_session import SESSION_RULES
from fednas.latency_tables.table import LatencyTable, readings_path


def lint(
    table: LatencyTable, *, blocks: Sequence[BlockSpec] = (), others: Mapping[str, LatencyTable] | None = None
) -> list[Finding]:
    """All findings, errors first.

    Args:
        blocks: what the table should price: every distinct block of a search space. Empty: not checked.
        others: further tables by name; no measured entry should agree with one of theirs to the last digit.
    """
    findings = [finding for rule in (*RECORD_RULES, *SESSION_RULES, *ENTRY_RULES, outlying) for finding in rule(table)]
    findings += missing(table, blocks)
    for name, other in (others or {}).items():
        findings += copied_from(table, name, other)
    return sorted(findings, key=lambda finding: finding.level)


def contradictions(table: LatencyTable) -> list[Finding]:
    """Errors in the table's account of itself: quick to look for, and nobody should rely on a table that has one."""
    return [finding for rule in (*RECORD_RULES, *SESSION_RULES) for finding in rule(table) if finding.level == "error"]


def lint_readings(table: LatencyTable, path: Path) -> list[Finding]:
    """Whether the raw readings beside the table at ``path`` are those that it was made of, if they are there."""
    readings, digest = readings_path(path), table.session.readings_sha256
    if not digest or not readings.is_file() or sha256_of(readings) == digest:
        return []
    return [Finding("error", "readings", f"{readings.name} is not the file of raw readings that the table was made of")]
