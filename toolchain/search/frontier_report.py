"""Frontiers as files: CSV (which is also a training cache), JSON, and what plots and pages need."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import encode_json, format_bytes, format_count, format_latency_ms
from fednas.toolchain.search.cache import COLUMNS, CacheRow, metrics_of
from fednas.toolchain.search.frontier import FrontierPoint
from fednas.toolchain.space.search_space import Accounting, SearchSpace

AXIS_TITLES = {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}


@dataclass(frozen=True, slots=True)
class ReportPoint:
    """A Pareto-optimal network with all its metrics."""

    value: float
    """On the axis."""
    row: CacheRow


@dataclass(frozen=True, slots=True)
class Frontier:
    """The frontier of one axis."""

    axis: str
    """``macs``, ``params`` or ``latency_ms``."""
    device: str | None
    """Whose latency."""
    kind: str | None
    """``measured`` or ``estimate``."""
    points: tuple[ReportPoint, ...]

    @property
    def title(self) -> str:
        """For a plot's axis."""
        if self.device is None:
            return AXIS_TITLES[self.axis]
        return f"latency on {self.device} ({'an estimate' if self.kind == 'estimate' else 'predicted'})"

    def shown(self, value: float) -> str:
        """A value of the axis for people."""
        return format_latency_ms(value) if self.axis == "latency_ms" else format_count(value)


def frontier_of(
    space: SearchSpace,
    points: Sequence[FrontierPoint],
    axis: str,
    accounting: Accounting,
    device: str | None = None,
    kind: str | None = None,
) -> Frontier:
    """A frontier with every metric of its points."""
    rows = metrics_of(space, [point.architecture for point in points], accounting)
    reported = tuple(ReportPoint(point.value, row) for point, row in zip(points, rows, strict=True))
    return Frontier(axis, device, kind, reported)


def frontier_csv(frontiers: Sequence[Frontier]) -> str:
    """The columns of a cache first, so that ``train --cache`` and ``score --archs`` read it."""
    latency = frontiers[0].axis == "latency_ms"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "latency_ms", "device", "latency_kind"] if latency else COLUMNS)
    for frontier in frontiers:
        for point in frontier.points:
            row = point.row
            arch = row.architecture
            genes = [json.dumps(list(part)) for part in (arch.d, arch.e, arch.w_indices)]
            cells = [row.macs, row.params, row.fitness, row.effectiveness, row.entropy, *genes]
            writer.writerow([*cells, point.value, frontier.device, frontier.kind] if latency else cells)
    return text.getvalue()


def frontier_document(frontiers: Sequence[Frontier], accounting: Accounting) -> dict[str, object]:
    """For JSON."""
    return {
        "schema": 1,
        "axis": frontiers[0].axis,
        "accounting": accounting,
        "frontiers": [
            {
                "device": frontier.device,
                "kind": frontier.kind,
                "points": [
                    {
                        frontier.axis: point.value,
                        "fitness": point.row.fitness,
                        "macs": point.row.macs,
                        "params": point.row.params,
                        "effectiveness": point.row.effectiveness,
                        "entropy": point.row.entropy,
                        "architecture": point.row.architecture.as_dict(),
                    }
                    for point in frontier.points
                ],
            }
            for frontier in frontiers
        ],
    }


def frontier_json(frontiers: Sequence[Frontier], accounting: Accounting) -> str:
    """`frontier_document` as text."""
    return encode_json(frontier_document(frontiers, accounting))


def architecture_text(row: CacheRow) -> str:
    """The architecture in a few words: depths, widths and the ratios of the blocks that exist, by stage."""
    arch = row.architecture
    slots = len(arch.e) // len(arch.d)
    ratios = (arch.e[stage * slots : stage * slots + depth + 1] for stage, depth in enumerate(arch.d))
    by_stage = " / ".join(" ".join(map(str, stage)) for stage in ratios)
    return f"d {' '.join(map(str, arch.d))} | w {' '.join(map(str, arch.w_indices))} | e {by_stage}"


def size_text(row: CacheRow) -> str:
    """MACs, parameters and the bytes of fp32 weights."""
    return f"{format_count(row.macs)} MACs, {format_count(row.params)} parameters ({format_bytes(4 * row.params)} fp32)"
