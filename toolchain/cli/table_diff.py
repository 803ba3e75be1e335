"""``table diff``: what changed beyond noise between two tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, column_latency
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
    sessions, at 5 % for all entries together. Tables of different things (devices, runtimes, precisions, spaces) are
    called so first; their ratio is then no change. Other fingerprints (governor, clocks) are named.
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
        "same_thing": not found.apart,
        "apart": found.apart,
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
                column_latency(entry.first_ms),
                column_latency(entry.second_ms),
                f"{entry.relative - 1:+.1%}",
                f"{entry.p_value:.1g}",
            )
            for entry in changed[:limit]
        ]
        beyond = "off the ratio" if found.apart else "beyond the machine"
        parts.append(table(rows, ("block", "first", "second", beyond, "p"), align=("left", *["right"] * 4)))
        if len(changed) > limit:
            parts.append(f"... and {len(changed) - limit} more; --limit shows them")
    return "\n\n".join(parts)


def _facts(found: "TableDiff") -> list[tuple[str, str]]:
    facts = _ratio_of_things(found) if found.apart else _changes(found)
    facts += [("differs", str(difference)) for difference in found.fingerprints if difference not in found.apart]
    for name, specs in (
        ("only in first", found.only_first),
        ("only in second", found.only_second),
        ("not compared", found.not_measured),
    ):
        if specs:
            facts.append((name, _some(specs) + (": not measured in both" if name == "not compared" else "")))
    return facts


def _changes(found: "TableDiff") -> list[tuple[str, str]]:
    """One thing measured twice: what became of it."""
    count, changed = len(found.entries), len(found.changed)
    verdict = f"{changed} of {_blocks(count)} changed beyond noise" if changed else f"none of {_blocks(count)} changed"
    speed = "another speed than it wandered to within its sessions" if found.speed_changed else "within its wandering"
    seen = f"a block scatters by {found.scatter:.1%} between sessions"
    return [
        ("blocks", f"{verdict}; {seen}, so less than {found.smallest_change:.0%} would hardly have been seen"),
        ("whole machine", f"{_ratios(found)}: {speed} (x/{found.wander:.3f})"),
    ]


def _ratio_of_things(found: "TableDiff") -> list[tuple[str, str]]:
    """Different things: how far apart they are, which is no change of either."""
    count, changed = len(found.entries), len(found.changed)
    apart = [("not one thing", "these are tables of different things; what follows is no change of one of them")]
    apart += [("not one thing", str(difference)) for difference in found.apart]
    own = f"{changed or 'none'} of {_blocks(count)} beyond noise"
    return [
        *apart,
        ("ratio", f"the second takes {_ratios(found)}"),
        ("blocks", f"off that ratio: {own}; a block scatters around it by {found.scatter:.1%}"),
    ]


def _ratios(found: "TableDiff") -> str:
    return f"x {found.speed_ratio:.3f} (quick blocks x {found.quick_ratio:.3f}, slow ones x {found.slow_ratio:.3f})"


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def _some(specs: "Sequence[BlockSpec]") -> str:
    return f"{_blocks(len(specs))}, such as {specs[0].key}"
