"""What a manifest says twice: figures that follow from others in it, and the ones that do not."""

import math
from collections.abc import Iterator

from fednas.export.evidence import Accuracy, accuracy_with_interval
from fednas.export.manifest import Budget, Manifest, Verdict, judged_model, timed_engines, verdict_of

TOLERANCE = 1e-6
"""On shares: other versions may have rounded in another order."""


def contradictions(manifest: Manifest) -> tuple[str, ...]:
    """In sentences, where the manifest says something else than follows from its own figures; empty if nowhere."""
    return (*_false_accuracies(manifest), *_false_budgets(manifest))


def _false_accuracies(manifest: Manifest) -> Iterator[str]:
    for model in manifest.models:
        for evidence in model.all_evidence:
            for accuracy in (evidence.source_accuracy, evidence.artefact_accuracy):
                if accuracy is not None and (why := _false_accuracy(accuracy)):
                    yield f"{model.file}: an accuracy is stated as {accuracy}, but {why}"


def _false_accuracy(stated: Accuracy) -> str:
    if not 0 <= stated.correct <= stated.total or stated.total < 1:
        return "these counts are impossible"
    found = accuracy_with_interval(stated.correct, stated.total)
    pairs = ((stated.share, found.share), (stated.low, found.low), (stated.high, found.high))
    same = all(math.isclose(one, other, abs_tol=TOLERANCE) for one, other in pairs)
    return "" if same else f"its counts give {found}"


def _false_budgets(manifest: Manifest) -> Iterator[str]:
    for budget in manifest.shipment.budgets:
        if (why := _false_value(budget, manifest)) is not None:
            yield f"the {budget.quantity} budget is judged on {_shown(budget.value)}, but {why}"
        elif (verdict := _verdict(budget, manifest)) != budget.verdict:
            yield f"the {budget.quantity} budget is stated as {budget.verdict}, but its own figures make it {verdict}"


def _false_value(budget: Budget, manifest: Manifest) -> str | None:
    """What the rest of the manifest says of a budget's quantity; None if it is the same."""
    if budget.quantity == "latency":
        stated = (budget.value, budget.low, budget.high, budget.basis)
        # A board's later result may take a reading back without another in its place.
        if stated in _latencies(manifest) or (manifest.board is not None and stated[:3] == (None, None, None)):
            return None
        return f"no latency that is {budget.basis} has this value and interval in the manifest"
    model, shipment = judged_model(manifest.shipment, manifest.models), manifest.shipment
    sizes = [file.size_bytes for file in manifest.files if file.name == model.file]
    known = {"macs": shipment.macs, "params": shipment.params, "size": sizes[0]}.get(budget.quantity)
    return None if known is None or budget.value == known else f"the manifest states {_shown(known)}"


def _latencies(manifest: Manifest) -> list[tuple[float, float, float, str]]:
    """All that a latency budget can rest on: value, interval and basis."""
    model, latency = judged_model(manifest.shipment, manifest.models), manifest.shipment.latency
    engines = [engine.latency for engine in timed_engines(model, manifest.board)]
    read = [each for each in (*engines, latency.measured) if each is not None]
    predicted = latency.predicted
    basis = "predicted" if latency.kind == "measured" else "estimated"
    forecast = [(predicted.latency_ms, predicted.low_ms, predicted.high_ms, basis)] if predicted else []
    return [*((each.median_ms, each.low_ms, each.high_ms, "measured") for each in read), *forecast]


def _verdict(budget: Budget, manifest: Manifest) -> Verdict:
    """As the main job and an import judge it."""
    if budget.value is None or not _tells(budget, manifest):
        return "cannot tell"
    low, high = (budget.value if end is None else end for end in (budget.low, budget.high))
    return verdict_of(low, high, budget.limit)


def _tells(budget: Budget, manifest: Manifest) -> bool:
    """Whether the value speaks of the file at all: a prediction for another precision does not."""
    predicted = manifest.shipment.latency.predicted
    if budget.quantity != "latency" or budget.basis == "measured" or predicted is None:
        return True
    return predicted.precision == manifest.shipment.precision


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
