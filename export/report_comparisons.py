"""The report's sections that compare: networks with each other, the file with its source."""

from collections.abc import Sequence

import msgspec

from fednas.common import format_count, format_latency_ms
from fednas.export.comparison import told_apart, why_not_measured
from fednas.export.illustrations import Example, Frontier
from fednas.export.manifest import Candidate, Model
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table
from fednas.export.report_pictures import disagreement_matrix, example_tiles, frontier_picture

MOST_PAIRS = 10


def frontier_section(
    frontier: Frontier | None, candidates: Sequence[Candidate], *, estimated: bool = False
) -> Section | None:
    """What a little more or less of the budget would bring; ``estimated``: latencies rest on no measurement."""
    if frontier is None or not frontier.points:
        return None
    low, high = frontier.points[0], frontier.points[-1]
    text = (
        f"{len(frontier.points)} networks between {_value(frontier, low.value)} and {_value(frontier, high.value)} are "
        f"beaten by none in both {frontier.quantity} and fitness; their fitness runs from {low.fitness:.6g} to "
        f"{high.fitness:.6g}. `report.json` lists them."
    )
    title = "Near the budget" if frontier.limit is not None else "Near the chosen network"
    return Section(title, (Paragraph(text), frontier_picture(frontier, candidates, estimated=estimated)))


def _value(frontier: Frontier, value: float) -> str:
    return format_latency_ms(value) if frontier.unit == "ms" else format_count(value)


def candidates_section(candidates: Sequence[Candidate]) -> Section | None:
    """The networks that were measured against each other before one was kept."""
    if not candidates:
        return None
    rows = tuple(
        (
            ("**kept**" if candidate.kept else ""),
            candidate.verdict,
            f"{candidate.fitness:.6g}",
            format_count(candidate.macs),
            f"{_ms(candidate.predicted_ms)} ({_ms(candidate.predicted_low_ms)} to {_ms(candidate.predicted_high_ms)})",
            _reading(candidate),
            f"`{msgspec.json.encode(candidate.architecture).decode()}`",
        )
        for candidate in candidates
    )
    heads = ("", "Budget", "Fitness", "MACs", "Predicted", "Measured", "Architecture")
    return Section("Candidates", (Paragraph(_how_chosen(candidates)), Table(heads, rows)))


def _how_chosen(candidates: Sequence[Candidate]) -> str:
    near = f"{_which(candidates)} "
    missing = [candidate for candidate in candidates if candidate.measured is None]
    why = why_not_measured(candidates)
    if len(missing) == len(candidates):
        return (
            f"{near}They were not compared by measurement{f', because {why}' if why else ''}. So the fittest that "
            "meets the budget by prediction was kept, and the verdicts below are on predictions. To decide by "
            f"measurement, run the export again on the device while nothing else runs there. {told_apart(candidates)}"
        )
    left_out = (
        f" {len(missing)} could not be measured ({why or 'no reason is known'}) and dropped out." if missing else ""
    )
    return (
        f"{near}They were exported and timed in turn, in random order, round after round.{left_out} The fittest that "
        "meets the budget by its reading was kept (where none is certain to, the fittest whose interval straddles it, "
        f"else the predicted best if it was not measured, else the fastest). {told_apart(candidates)}"
    )


def _which(candidates: Sequence[Candidate]) -> str:
    """How they were found, in one or two rounds."""
    first = [candidate for candidate in candidates if not candidate.corrected]
    nearest = f"{len(first)} networks of the frontier are predicted nearest to the latency budget."
    if len(first) == len(candidates):
        return f"These {nearest}"
    # A second round follows only where all readings of the first have the same verdict.
    read = [each for each in first if each.measured is not None]
    all_met = any(each.verdict == "met" for each in read)
    those = "of them" if len(read) == len(first) else "of those that could be read"
    found = f"All {those} measured within it" if all_met else f"None {those} surely measured within it"
    more = len(candidates) - len(first)
    added = f"{more} {'fitter' if all_met else 'faster'} {'one was' if more == 1 else 'ones were'} added"
    return (
        f"{nearest} {found}; so {added}, "
        "nearest to the budget once predictions are corrected by what the first measured."
    )


def _reading(candidate: Candidate) -> str:
    measured = candidate.measured
    if measured is None:
        return "not measured"
    return f"{_ms(measured.median_ms)} ({_ms(measured.low_ms)} to {_ms(measured.high_ms)})"


def _ms(value: float) -> str:
    # Candidates lie close together: one digit more than elsewhere.
    return f"{value:.4g} ms"


def disagreements_section(models: Sequence[Model], class_names: Sequence[str]) -> Section | None:
    """Where file and source name different classes; None without images."""
    if any(model.evidence.source_accuracy is None for model in models) or not class_names:
        return None
    apart = [model for model in models if model.evidence.disagreements]
    agreed = [f"`{model.file}`" for model in models if not model.evidence.disagreements]
    lines = [f"{', '.join(agreed)}: none; the same class on every image."] if agreed else []
    lines += [f"`{model.file}`: {_pairs(model, class_names)}" for model in apart]
    pictures = [disagreement_matrix(model.evidence.disagreements, class_names, model.file) for model in apart]
    return Section("Disagreements with the source", (Bullets(tuple(lines)), *pictures))


def _pairs(model: Model, class_names: Sequence[str]) -> str:
    pairs = model.evidence.disagreements
    named = "; ".join(
        f"{class_names[pair.source]} became {class_names[pair.artefact]} ({pair.images})" for pair in pairs[:MOST_PAIRS]
    )
    rest = len(pairs) - MOST_PAIRS
    total = sum(pair.images for pair in pairs)
    more = f"; {rest} more pairs" if rest > 0 else ""
    return f"{total} of {model.evidence.parity.images} images. {named}{more}."


def examples_section(examples: Sequence[Example], file: str) -> Section | None:
    """Some images; only the page shows them."""
    if not examples:
        return None
    wrong = sum(example.artefact.label != example.truth for example in examples)
    text = f"{len(examples)} held-out images with what the source and `{file}` name; the file is wrong on {wrong}."
    return Section("Example images", (Paragraph(text), example_tiles(examples)))
