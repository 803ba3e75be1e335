"""A frontier as one HTML file that needs no network: a drawing that shows its architectures, and a table."""

from collections.abc import Iterator, Sequence
from html import escape
from string import Template

from fednas.toolchain.scales import Scale
from fednas.toolchain.search.frontier_report import AXIS_TITLES, Frontier, ReportPoint, architecture_text, size_text
from fednas.toolchain.space.search_space import Accounting

WIDTH, HEIGHT = 620, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 14, 50

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2530; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 0 0 .4rem; }
p { margin: .2rem 0 1rem; color: #4a5968; }
.panels { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { flex: 1 1 30rem; margin: 0; max-width: 62rem; min-width: 0; }
svg { width: 100%; height: auto; display: block; touch-action: none; }
svg:focus-visible { outline: 2px solid #c2571a; }
svg text { font: 12px system-ui, sans-serif; fill: #4a5968; }
.grid { stroke: #e3e8ec; } .curve { fill: none; stroke: #9db4c8; stroke-width: 1.2; } circle { fill: #14568c; }
circle.chosen { fill: #c2571a; stroke: #fff; stroke-width: 1.5; r: 6px; }
figcaption { min-height: 5.2em; padding: .5rem .8rem; background: #f3f6f8; border-radius: 6px;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; white-space: pre-line; }
details { margin-top: 1rem; } summary { cursor: pointer; }
.scroll { overflow-x: auto; max-height: 32rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #e3e8ec; }
th { position: sticky; top: 0; background: #fff; } td:last-child, th:last-child { text-align: left; }
</style>
<h1>$title</h1>
<p>$subtitle</p>
<div class="panels">
$panels</div>
<script>
for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector("svg"), caption = figure.querySelector("figcaption");
  const points = [...figure.querySelectorAll("circle")];
  const places = points.map(p => [+p.getAttribute("cx"), +p.getAttribute("cy")]);
  let chosen = 0;
  function choose(index) {
    points[chosen].classList.remove("chosen");
    chosen = Math.max(0, Math.min(points.length - 1, index));
    points[chosen].classList.add("chosen");
    points[chosen].parentNode.append(points[chosen]);
    caption.textContent = points[chosen].querySelector("title").textContent;
  }
  svg.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = 0, least = Infinity;
    places.forEach(([x, y], i) => {
      const far = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (far < least) { least = far; best = i; }
    });
    choose(best);
  });
  svg.addEventListener("keydown", event => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageUp: 20, PageDown: -20, Home: -Infinity, End: Infinity };
    if (event.key in steps) { event.preventDefault(); choose(chosen + steps[event.key]); }
  });
  svg.addEventListener("focus", () => choose(chosen));
}
</script>
</html>
""")


def frontier_html(frontiers: Sequence[Frontier], accounting: Accounting) -> str:
    """The page."""
    subtitle = f"Every subnet that no other beats in both, each proven. MACs by {accounting} accounting."
    title = f"Pareto-optimal subnets: fitness against {AXIS_TITLES[frontiers[0].axis]}"
    every = [point.row.fitness for frontier in frontiers for point in frontier.points]
    up = Scale.over(every, may_be_logarithmic=False)
    panels = "".join(_panel(frontier, up) for frontier in frontiers)
    return PAGE.substitute(title=escape(title), subtitle=escape(subtitle), panels=panels)


def _panel(frontier: Frontier, up: Scale) -> str:
    return (
        f"<figure>\n<h2>{len(frontier.points)} subnets by {escape(frontier.title)}</h2>\n"
        f"{_drawing(frontier, up)}"
        "<figcaption>Point at the drawing, or focus it and use the arrow keys, to read an architecture.</figcaption>\n"
        f"<details><summary>All {len(frontier.points)} as a table</summary>{_table(frontier)}</details>\n</figure>\n"
    )


def _drawing(frontier: Frontier, up: Scale) -> str:
    along = Scale.over([point.value for point in frontier.points], may_be_logarithmic=True)
    places = [(_x(along, point.value), _y(up, point.row.fitness)) for point in frontier.points]
    lines = [*_grid(frontier, along, up), f'<path class="curve" d="{_stairs(places)}"/>', "<g>"]
    radius = 2.4 if len(places) > 200 else 3.6
    for (x, y), point in zip(places, frontier.points, strict=True):
        text = escape(_point_text(frontier, point))
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{text}</title></circle>')
    label = escape(f"Fitness against {frontier.title}")
    opening = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{label}">'
    return "\n".join([opening, *lines, "</g>", "</svg>", ""])


def _grid(frontier: Frontier, along: Scale, up: Scale) -> Iterator[str]:
    floor = HEIGHT - BOTTOM
    for tick in along.ticks():
        x = _x(along, tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>'
        yield f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{escape(frontier.shown(tick))}</text>'
    for tick in up.ticks():
        y = _y(up, tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(frontier.title)}</text>'
    yield f'<text transform="translate(14 {(TOP + floor) / 2}) rotate(-90)" text-anchor="middle">Fitness F</text>'


def _stairs(places: Sequence[tuple[float, float]]) -> str:
    """Level up to the next point, then up: what each budget can reach."""
    (x, y), *rest = places
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{right:.1f}V{higher:.1f}" for right, higher in rest)


def _x(scale: Scale, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * scale.place(value)


def _y(scale: Scale, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * scale.place(value)


def _point_text(frontier: Frontier, point: ReportPoint) -> str:
    first = f"fitness {point.row.fitness:.3f}"
    if frontier.axis == "latency_ms":
        first += f" at {frontier.shown(point.value)}"
    return f"{first}\n{size_text(point.row)}\n{architecture_text(point.row)}"


def _table(frontier: Frontier) -> str:
    latency = frontier.axis == "latency_ms"
    heads = [*(["latency"] if latency else []), "MACs", "parameters", "fitness", "architecture"]
    rows = ["".join(f"<th>{head}</th>" for head in heads)]
    for point in frontier.points:
        row = point.row
        cells = [f"{row.macs:,}", f"{row.params:,}", f"{row.fitness:.3f}", architecture_text(row)]
        cells = [frontier.shown(point.value), *cells] if latency else cells
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return '<div class="scroll"><table>' + "\n".join(f"<tr>{row}</tr>" for row in rows) + "</table></div>"
