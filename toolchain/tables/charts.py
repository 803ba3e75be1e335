"""A plot as inline SVG: two scales, a grid, and dots, lines and areas on it. Colours are those of the page's style."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from fednas.toolchain.scales import Scale

LEFT, RIGHT, TOP, BOTTOM = 72, 24, 12, 46
Point = tuple[float, float]


@dataclass(slots=True)
class Chart:
    """Collects what is drawn; `svg` gives the picture. Coordinates are values on the two scales."""

    title: str
    """For those who cannot see it."""
    across: Scale
    up: Scale
    across_name: str
    up_name: str
    show_across: Callable[[float], str]
    show_up: Callable[[float], str]
    width: int = 640
    height: int = 400
    _areas: list[str] = field(default_factory=list)
    _marks: list[str] = field(default_factory=list)

    def dot(self, point: Point, colour: str, text: str, *, hollow: bool = False, radius: float = 4) -> None:
        """A mark that tells ``text`` when pointed at."""
        x, y = self._place(point)
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {_fill(colour, hollow)}>'
        self._marks.append(f"{circle}<title>{escape(text)}</title></circle>")

    def line(self, points: Sequence[Point], style: str = "curve") -> None:
        """A line through the points."""
        self._marks.append(f'<polyline points="{self._list(points)}" class="{style}" fill="none"/>')

    def area(self, points: Sequence[Point]) -> None:
        """A faint area within the points."""
        self._areas.append(f'<polygon points="{self._list(points)}" class="track"/>')

    def svg(self) -> str:
        """The picture; what lies outside the scales is cut off."""
        inside = f'x="{LEFT}" y="{TOP}" width="{self.width - LEFT - RIGHT}" height="{self.height - TOP - BOTTOM}"'
        clip = "inside-" + "-".join(self.title.lower().split())
        return "\n".join(
            [
                f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}">',
                f'<clipPath id="{clip}"><rect {inside}/></clipPath>',
                f'<g clip-path="url(#{clip})">',
                *self._areas,
                "</g>",
                *self._grid(),
                f'<g clip-path="url(#{clip})">',
                *self._marks,
                "</g>",
                "</svg>",
            ]
        )

    def _grid(self) -> Iterator[str]:
        floor, right = self.height - BOTTOM, self.width - RIGHT
        for tick in self.across.ticks():
            x, _ = self._place((tick, self.up.low))
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>'
            shown = escape(self.show_across(tick))
            yield f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{shown}</text>'
        for tick in self.up.ticks():
            _, y = self._place((self.across.low, tick))
            yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{escape(self.show_up(tick))}</text>'
        middle = (LEFT + right) / 2
        yield f'<text x="{middle:g}" y="{self.height - 8}" text-anchor="middle">{escape(self.across_name)}</text>'
        turn = f"translate(13 {(TOP + floor) / 2:g}) rotate(-90)"
        yield f'<text transform="{turn}" text-anchor="middle">{escape(self.up_name)}</text>'

    def _place(self, point: Point) -> Point:
        x = LEFT + (self.width - LEFT - RIGHT) * self.across.place(point[0])
        y = self.height - BOTTOM - (self.height - TOP - BOTTOM) * self.up.place(point[1])
        return x, y

    def _list(self, points: Sequence[Point]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self._place, points))


def legend(names: Sequence[tuple[str, str, bool]]) -> str:
    """A line of marks with their names: (colour, name, hollow)."""
    parts, x = [], 10.0
    for colour, name, hollow in names:
        parts.append(f'<circle cx="{x:g}" cy="10" r="4.5" {_fill(colour, hollow)}/>')
        parts.append(f'<text x="{x + 10:g}" y="14">{escape(name)}</text>')
        x += 34 + 6.6 * len(name)
    label = escape(", ".join(name for _, name, _ in names))
    return "\n".join([f'<svg viewBox="0 0 640 20" role="img" aria-label="Legend: {label}">', *parts, "</svg>"])


def _fill(colour: str, hollow: bool) -> str:
    if not hollow:
        return f'class="{colour}"'
    return f'style="fill: var(--paper); stroke: var(--{colour}); stroke-width: 1.6"'
