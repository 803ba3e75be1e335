"""A frontier as a PNG."""

import io
from collections.abc import Sequence

from fednas.common import import_extra
from fednas.toolchain.scales import Scale
from fednas.toolchain.search.frontier_report import Frontier


def require_matplotlib() -> None:
    """Raises `FednasError` that names the extra if matplotlib is not installed."""
    import_extra("matplotlib", "plot", "a PNG")


def frontier_png(frontiers: Sequence[Frontier]) -> bytes:
    """One panel a frontier, side by side on one fitness scale; raises `FednasError` without matplotlib."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(7.2 if len(frontiers) == 1 else 5.4 * len(frontiers), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(frontiers), sharey=True, squeeze=False)[0]
    for panel, frontier in zip(panels, frontiers, strict=True):
        values = [point.value for point in frontier.points]
        fitness = [point.row.fitness for point in frontier.points]
        scale = Scale.over(values, may_be_logarithmic=True)
        panel.step(values, fitness, where="post", color="#9db4c8", linewidth=1.0)
        panel.plot(values, fitness, ".", color="#14568c", markersize=4 if len(values) > 200 else 6)
        panel.set_xscale("log" if scale.logarithmic else "linear")
        panel.set_xlim(scale.low, scale.high)
        panel.xaxis.set_major_locator(FixedLocator(scale.ticks()))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _, shown=frontier.shown: shown(value)))
        panel.tick_params(labelsize=9)
        panel.set_xlabel(frontier.title)
        panel.set_title(f"{len(values)} Pareto-optimal subnets, each proven", fontsize=10)
        panel.grid(color="#e3e8ec", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("Fitness F")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    return picture.getvalue()
