"""``table diff``: what changed beyond noise between two tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, format_latency_ms
from fednas.toolchain.cli.options import TableArgument
from fednas.toolchain.cli.output import emit, facts_text, table

if TYPE_CHECKING:
    from fednas.latency_tables import BlockSpec, EntryChange, TableDiff

SHOWN = 20


def diff(
    first: TableArgument,
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Table to compare with the first.")],
    limit: Annotated[int, typer.Option(min=0, help="Changed entries to list, the surest first.")] = SHOWN,
) -> None:
    """Say what changed beyond noise between two tables: the machine as a whole, and single blocks.

    A change of the whole machine (which may be another one for quick blocks than for slow ones) is told apart and
    divided out; an entry counts as changed where the rest cannot be the two medians' errors and the scatter between
    sessions, at 5 % for all entries together. Other fingerprints (runtime, governor, power mode, clocks) are named.
    Exit code 0: nothing changed beyond noise; 3: something did.
    """
    from fednas.latency_tables import diff as compare
    from fednas.latency_tables import load_table

    found = compare(load_table(first), load_table(second))
    emit(_document(found), _text(found, limit))
    if found.beyond_noise:
        raise typer.Exit(code=int(ExitCode.BUDGET_MISSED))


def _document(found: "TableDiff") -> dict[str, object]:
    return {
        "beyond_noise": found.beyond_noise,
        "speed_changed": found.speed_changed,
        "speed_ratio": found.speed_ratio,
        "quick_ratio": found.quick_ratio,
        "slow_ratio": found.slow_ratio,
        "wander": found.wander,
        "scatter": found.scatter,
        "smallest_change": found.smallest_change,
        "compared": len(found.entries),
        "changed": [_entry(entry) for entry in found.changed],
        "fingerprints": found.fingerprints,
        "only_first": [spec.key for spec in found.only_first],
        "only_second": [spec.key for spec in found.only_second],
        "not_measured": [spec.key for spec in found.not_measured],
    }


def _entry(entry: "EntryChange") -> dict[str, object]:
    return {
        "block": entry.spec.key,
        "first_ms": entry.first_ms,
        "second_ms": entry.second_ms,
        "relative": entry.relative,
        "p_value": entry.p_value,
    }


def _text(found: "TableDiff", limit: int) -> str:
    changed = found.changed
    parts = [facts_text(_facts(found))]
    if changed and limit:
        rows = [
            (
                entry.spec.key,
                format_latency_ms(entry.first_ms),
                format_latency_ms(entry.second_ms),
                f"{entry.relative - 1:+.1%}",
                f"{entry.p_value:.1g}",
            )
            for entry in changed[:limit]
        ]
        parts.append(table(rows, ("block", "first", "second", "beyond the machine", "p")))
        if len(changed) > limit:
            parts.append(f"... and {len(changed) - limit} more; --limit shows them")
    return "\n\n".join(parts)


def _facts(found: "TableDiff") -> list[tuple[str, str]]:
    count, changed = len(found.entries), len(found.changed)
    noun = "block" if changed == 1 else "blocks"
    verdict = f"{changed} of {count} {noun} changed beyond noise" if changed else f"none of {count} blocks changed"
    speed = "another speed than it wandered to within its sessions" if found.speed_changed else "within its wandering"
    ratios = f"x {found.speed_ratio:.3f} (quick blocks x {found.quick_ratio:.3f}, slow ones x {found.slow_ratio:.3f})"
    seen = f"a block scatters by {found.scatter:.1%} between sessions"
    facts = [
        ("blocks", f"{verdict}; {seen}, so less than {found.smallest_change:.0%} would hardly have been seen"),
        ("whole machine", f"{ratios}: {speed} (x/{found.wander:.3f})"),
    ]
    facts += [("differs", str(difference)) for difference in found.fingerprints]
    for name, specs in (
        ("only in first", found.only_first),
        ("only in second", found.only_second),
        ("not compared", found.not_measured),
    ):
        if specs:
            facts.append((name, _some(specs) + (": not measured in both" if name == "not compared" else "")))
    return facts


def _some(specs: "Sequence[BlockSpec]") -> str:
    noun = "block" if len(specs) == 1 else "blocks"
    return f"{len(specs)} {noun}, such as {specs[0].key}"
