"""``table validate``: fresh networks measured now, held against a table's own claim."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, FednasError, sha256_of
from fednas.toolchain.cli.options import SpaceOption, SupernetOption, TableArgument
from fednas.toolchain.cli.output import emit, facts_text, progress_bar, table
from fednas.toolchain.cli.parsing import space_from

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyTable
    from fednas.toolchain.space import SearchSpace
    from fednas.toolchain.tables.validate import Validation

_CODES = {
    "holds": ExitCode.OK,
    "does not hold": ExitCode.BUDGET_MISSED,
    "cannot tell": ExitCode.CANNOT_TELL,
}
_OTHER_SPEED = 1.05
"""Ratio from which the machine's speed is said to be why predictions are off."""


def validate(
    file: TableArgument,
    subnets: Annotated[int, typer.Option(min=4, max=1000, help="Fresh networks to measure.")] = 30,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for readings, at least nine of each network.")] = 10.0,
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    seed: Annotated[int, typer.Option(help="Of the networks drawn; those of the table are never among them.")] = 1,
) -> None:
    """Measure fresh subnets on this machine now and compare them with what the table claims of itself.

    The networks are interleaved and corrected for drift, and their repeatability is that of this session. The claim
    does not hold if too few of them lie inside their intervals, or if the mean error is larger than claimed at the
    same speed of the machine, each beyond chance (5 %). Without --space or --supernet, the space that the table keeps.
    Refused on another machine or runtime than the table's.
    Exit code 0: the claim holds; 3: it does not; 5: cannot tell (a machine that is unfit, or was when the table was
    made; fewer than 20 networks).
    """
    from fednas.latency_tables import load_table

    found = load_table(file)
    searched = _space_of(found, file, space, supernet)
    from fednas.toolchain.tables.validate import validate as validate_table

    with progress_bar("validating") as progress:
        result = validate_table(found, searched, subnets=subnets, seconds=seconds, seed=seed, progress=progress)
    emit(_document(result, file), _text(result))
    if code := _CODES[result.verdict]:
        raise typer.Exit(code=int(code))


def _space_of(found: "LatencyTable", file: Path, space: Path | None, supernet: Path | None) -> "SearchSpace":
    from fednas.toolchain.space import space_of_table

    if space is not None or supernet is not None:
        return space_from(space, supernet)
    kept = space_of_table(found, f"latency table {file}")
    if kept is None:
        raise FednasError(
            f"latency table {file} does not keep the search space that it was made for",
            hint="give --space or --supernet",
        )
    return kept


def _document(result: "Validation", file: Path) -> dict[str, object]:
    found = result.found
    return {
        "subnets": found.subnets,
        "mape": found.mape,
        "within_5": found.within_5,
        "within_10": found.within_10,
        "kendall_tau": found.kendall_tau,
        "interval_coverage": found.interval_coverage,
        "repeatability_mape": found.repeatability_mape,
        "verdict": result.verdict,
        "reasons": result.reasons,
        "speed_ratio": result.speed_ratio,
        "mape_at_same_speed": result.mape_at_same_speed,
        "within_5_at_same_speed": result.within_5_at_same_speed,
        "within_10_at_same_speed": result.within_10_at_same_speed,
        "claimed": result.claimed,
        "interval": result.interval,
        "remarks": result.remarks,
        "date": result.date,
        "table": str(file),
        "sha256": sha256_of(file),
        "networks": result.networks,
    }


def _text(result: "Validation") -> str:
    found, claimed = result.found, result.claimed
    rows = [
        ("networks", found.subnets, "", claimed.subnets),
        ("mean error", f"{found.mape:.1%}", f"{result.mape_at_same_speed:.1%}", f"{claimed.mape:.1%}"),
        ("within 5 %", f"{found.within_5:.0%}", f"{result.within_5_at_same_speed:.0%}", f"{claimed.within_5:.0%}"),
        ("within 10 %", f"{found.within_10:.0%}", f"{result.within_10_at_same_speed:.0%}", f"{claimed.within_10:.0%}"),
        ("Kendall tau", f"{found.kendall_tau:.2f}", "", f"{claimed.kendall_tau:.2f}"),
        ("inside the interval", f"{found.interval_coverage:.0%}", "", f"{result.interval.coverage:.0%}"),
        ("repeatability", f"{found.repeatability_mape:.1%}", "", f"{claimed.repeatability_mape:.1%}"),
    ]
    facts = [
        ("verdict", _verdict(result)),
        *(("because", reason) for reason in result.reasons),
        ("machine", _speed(result)),
        ("interval", f"x/{result.interval.factor:.3f}"),
    ]
    facts += [("unfit", remark) for remark in result.remarks if result.verdict == "does not hold"]
    heads = ("", "now", "at the table's speed", "claimed")
    return f"{facts_text(facts)}\n\n{table(rows, heads, align=('left', *['right'] * 3))}"


def _verdict(result: "Validation") -> str:
    inside = sum(network.inside for network in result.networks)
    found = f"{inside} of {len(result.networks)} networks lie in intervals that claim {result.interval.coverage:.0%}"
    if result.verdict == "cannot tell":
        return f"cannot tell whether the table's claim holds; {found}"
    return f"the table's claim {result.verdict}: {found}"


def _speed(result: "Validation") -> str:
    """How fast the machine is today, and what that makes of the predictions."""
    said = f"takes {result.speed_ratio:.3f} times what the table says, in the middle of the networks"
    if result.verdict != "holds" or max(result.speed_ratio, 1 / result.speed_ratio) < _OTHER_SPEED:
        return said
    return f"{said}: predictions are off by as much today, which their interval allows for"
