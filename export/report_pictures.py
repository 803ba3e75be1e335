"""The pictures of a report, as inline SVG that follows the page's colours."""

import math
from collections.abc import Sequence
from html import escape

from fednas.common import format_bytes, format_count, format_latency_ms
from fednas.export.evidence import Disagreement
from fednas.export.illustrations import Example, Frontier, FrontierPoint, Guess
from fednas.export.manifest import Budget, Candidate
from fednas.export.report_blocks import Picture

_VERDICT_COLOUR = {"met": "good", "missed": "bad", "cannot tell": "unsure"}
MOST_MATRIX_CLASSES = 20


def show_value(unit: str, value: float) -> str:
    """A value of a budget's unit for people."""
    if unit == "ms":
        return format_latency_ms(value)
    return format_bytes(value) if unit == "bytes" else format_count(value)


def budget_bars(budgets: Sequence[Budget]) -> Picture:
    """One bar a budget, as a share of its limit."""
    known = [budget for budget in budgets if budget.value is not None]
    width, left, row = 640.0, 90.0, 46.0
    most = max([1.25, *(1.08 * max(b.value or 0, b.high or 0) / b.limit for b in known)])
    # An interval far beyond the limit would shrink the bars to nothing: it is cut, and its end says so.
    most = min(most, 3.0)
    scale = (width - left - 10) / most
    parts = []
    for i, budget in enumerate(known):
        value, top = float(budget.value or 0), 12 + i * row
        share = min(value / budget.limit, most)
        name, colour = escape(budget.quantity), _VERDICT_COLOUR[budget.verdict]
        parts += [
            f'<text class="strong" x="{left - 10:g}" y="{top + 15:g}" text-anchor="end">{name}</text>',
            f'<rect class="track" x="{left:g}" y="{top:g}" width="{scale * most:.1f}" height="20"/>',
            f'<rect class="{colour}" x="{left:g}" y="{top:g}" width="{scale * share:.1f}" height="20"/>',
            *_whisker(budget, left, top + 10, scale, most),
            f'<line class="limit" x1="{left + scale:.1f}" x2="{left + scale:.1f}" y1="{top - 5:g}" y2="{top + 23:g}"/>',
            f'<text x="{left:g}" y="{top + 35:g}">{escape(_bar_text(budget))}</text>',
        ]
    bottom = 12 + len(known) * row
    title = "Each budget's value as a share of its limit"
    return Picture(_svg(width, bottom, title, parts), "Value as a share of the limit (dashed), with its interval.")


def _whisker(budget: Budget, left: float, y: float, scale: float, most: float) -> list[str]:
    if budget.low is None or budget.high is None or budget.low == budget.high:
        return []
    low, high = (left + scale * min(end / budget.limit, most) for end in (budget.low, budget.high))
    line = f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{y:g}" y2="{y:g}"/>'
    ends = [low] if budget.high / budget.limit > most else [low, high]
    return [line, *(f'<line class="span" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5:g}" y2="{y + 5:g}"/>' for x in ends)]


def _bar_text(budget: Budget) -> str:
    value, limit = show_value(budget.unit, budget.value or 0), show_value(budget.unit, budget.limit)
    span = ""
    if budget.low is not None and budget.high is not None and budget.low != budget.high:
        span = f" ({show_value(budget.unit, budget.low)} to {show_value(budget.unit, budget.high)})"
    return f"{value}{span} of {limit}, {budget.basis}: {budget.verdict}"


def frontier_picture(frontier: Frontier, candidates: Sequence[Candidate], *, estimated: bool = False) -> Picture:
    """Fitness against the quantity, with the chosen network and, where some were compared, the candidates."""
    others = [
        FrontierPoint(value=candidate.predicted_ms, fitness=candidate.fitness)
        for candidate in candidates
        if not candidate.kept and frontier.quantity == "latency"
    ]
    shown = [*frontier.points, frontier.chosen, *others]
    width, height, left, right, top, bottom = 640.0, 300.0, 78.0, 20.0, 12.0, 46.0
    across = _Axis([p.value for p in shown] + ([frontier.limit] if frontier.limit else []), left, width - right)
    up = _Axis([p.fitness for p in shown], height - bottom, top)
    parts = [
        *_ticks_across(across, frontier.unit, top, height - bottom),
        *_ticks_up(up, left, width - right),
        f'<path class="curve" d="{_stairs([(across.at(p.value), up.at(p.fitness)) for p in frontier.points])}"/>',
    ]
    radius = 1.8 if len(frontier.points) > 80 else 3
    parts += [_dot(across, up, point, radius, "blue") for point in frontier.points]
    if frontier.limit is not None:
        x = across.at(frontier.limit)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{height - bottom:g}"/>')
    parts += [_dot(across, up, point, 4.5, "unsure") for point in others]
    parts.append(_dot(across, up, frontier.chosen, 7, "orange"))
    kind = "" if frontier.quantity != "latency" else " (estimated)" if estimated else " (predicted)"
    what = f"{frontier.quantity}{kind}"
    middle, axis = (left + width - right) / 2, escape(what)
    parts.append(f'<text x="{middle:g}" y="{height - 8:g}" text-anchor="middle">{axis}</text>')
    centre = (top + height - bottom) / 2
    parts.append(f'<text transform="translate(14 {centre:g}) rotate(-90)" text-anchor="middle">fitness</text>')
    limit = "" if frontier.limit is None else "; dashed: the budget"
    rest = "; yellow: the other candidates" if others else ""
    caption = f"Each blue point is a network that no other beats in both; orange: the one shipped{rest}{limit}."
    return Picture(_svg(width, height, f"Fitness against {what}", parts), caption)


class _Axis:
    """From values to places on the paper."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        room = 0.05 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
        self.low, self.high = min(values) - room, max(values) + room
        self._first, self._last = first, last

    def at(self, value: float) -> float:
        """Where ``value`` lies."""
        return self._first + (self._last - self._first) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """About five round numbers."""
        about = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(about))
        step = power * min((1, 2, 5, 10), key=lambda digit: abs(digit - about / power))
        return [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _ticks_across(axis: _Axis, unit: str, top: float, floor: float) -> list[str]:
    return [
        f'<line class="axis" x1="{axis.at(tick):.1f}" x2="{axis.at(tick):.1f}" y1="{top:g}" y2="{floor:g}"/>'
        f'<text x="{axis.at(tick):.1f}" y="{floor + 17:g}" text-anchor="middle">{show_value(unit, tick)}</text>'
        for tick in axis.ticks()
    ]


def _ticks_up(axis: _Axis, left: float, right: float) -> list[str]:
    return [
        f'<line class="axis" x1="{left:g}" x2="{right:g}" y1="{axis.at(tick):.1f}" y2="{axis.at(tick):.1f}"/>'
        f'<text x="{left - 8:g}" y="{axis.at(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in axis.ticks()
    ]


def _stairs(places: Sequence[tuple[float, float]]) -> str:
    if not places:
        return ""
    (x, y), *rest = places
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{right:.1f}V{higher:.1f}" for right, higher in rest)


def _dot(across: _Axis, up: _Axis, point: FrontierPoint, radius: float, colour: str) -> str:
    x, y = across.at(point.value), up.at(point.fitness)
    return f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def disagreement_matrix(pairs: Sequence[Disagreement], class_names: Sequence[str], file: str) -> Picture:
    """Which classes ``file`` names instead of the source's; rows and columns only of classes concerned."""
    concerned = sorted({pair.source for pair in pairs} | {pair.artefact for pair in pairs})[:MOST_MATRIX_CLASSES]
    place = {number: i for i, number in enumerate(concerned)}
    cell, left, top = 30.0, 130.0, 46.0
    side = cell * len(concerned)
    most = max(pair.images for pair in pairs)
    parts = ['<text x="8" y="16">rows: named by the source; columns: named by the file</text>']
    for number, i in place.items():
        row, column = escape(_short(class_names[number])), escape(class_names[number][:4])
        middle = (i + 0.5) * cell
        parts.append(f'<text x="{left - 8:g}" y="{top + middle + 4:g}" text-anchor="end">{row}</text>')
        parts.append(f'<text x="{left + middle:g}" y="{top - 6:g}" text-anchor="middle">{column}</text>')
        y = top + i * cell
        parts.append(f'<rect class="track" x="{left:g}" y="{y:g}" width="{side:g}" height="{cell - 2:g}"/>')
    for pair in pairs:
        if pair.source in place and pair.artefact in place:
            x, y = left + place[pair.artefact] * cell, top + place[pair.source] * cell
            # Never so strong that the number on it cannot be read, on light or on dark paper.
            opacity = 0.12 + 0.28 * pair.images / most
            parts.append(
                f'<rect class="bad" x="{x:g}" y="{y:g}" width="{cell - 2:g}" height="{cell - 2:g}" '
                f'opacity="{opacity:.2f}"/><text class="strong" x="{x + cell / 2 - 1:g}" y="{y + cell / 2 + 3:g}" '
                f'text-anchor="middle">{pair.images}</text>'
            )
    width = max(left + side + 10, 320.0)
    return Picture(
        _svg(width, top + side + 4, "Disagreements between source and file", parts, own_size=True),
        f"Images on which the source and `{file}` name different classes.",
    )


def example_tiles(examples: Sequence[Example]) -> Picture:
    """The images with the truth and both predictions."""
    tiles = "\n".join(
        f'<li><img src="{escape(example.image)}" alt="An image of the class {escape(example.truth)}">'
        f"<strong>{escape(example.truth)}</strong><br>{_guess('source', example.source, example.truth)}<br>"
        f"{_guess('file', example.artefact, example.truth)}</li>"
        for example in examples
    )
    return Picture(
        f'<ul class="tiles">\n{tiles}\n</ul>',
        "Held-out images: above, the true class; below, what the source network and the file name, with their softmax "
        "share. Disagreements come first, then mistakes, then one image of each class.",
    )


def _guess(who: str, guess: Guess, truth: str) -> str:
    text = f"{who}: {escape(guess.label)} {guess.share:.1%}"
    return text if guess.label == truth else f'<span class="wrong">{text}</span>'


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


def _svg(width: float, height: float, title: str, parts: Sequence[str], *, own_size: bool = False) -> str:
    size = f' class="small" style="max-width: {width:g}px"' if own_size else ""
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}"{size}>'
    return "\n".join([opening, *parts, "</svg>"])
