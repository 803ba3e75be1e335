"""``search``: the fittest architecture within budgets, with a proof that none is better."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import FednasError, format_bytes, format_count, format_latency_ms, unknown_name
from fednas.toolchain.cli.options import (
    AccountingOption,
    MaxLatencyOption,
    MaxMacsOption,
    MaxParamsOption,
    MaxSizeOption,
    PrecisionOption,
    ProfilesOption,
    SpaceOption,
    SupernetOption,
    TableOption,
)
from fednas.toolchain.cli.output import emit, table
from fednas.toolchain.cli.parsing import accounting_from, budgets_from, space_from

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyPrediction
    from fednas.toolchain.search.request import SearchAnswer


def search(
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    device: Annotated[list[str] | None, typer.Option(help="Device to predict the latency on; may be repeated.")] = None,
    latency_table: TableOption = None,
    max_latency: MaxLatencyOption = None,
    max_macs: MaxMacsOption = None,
    max_params: MaxParamsOption = None,
    max_size: MaxSizeOption = None,
    method: Annotated[str, typer.Option(help="'exact': proven optimal.")] = "exact",
    accounting: AccountingOption = "network",
    precision: PrecisionOption = "fp32",
    time_limit: Annotated[float | None, typer.Option(help="Seconds; past them the answer is 'feasible'.")] = None,
    profiles: ProfilesOption = None,
) -> None:
    """Find the architecture of highest fitness within the budgets.

    Without --space or --supernet, the embedded space. Several --device: every budget holds on each of them.
    """
    from fednas.toolchain.latency import latency_model
    from fednas.toolchain.search.request import answer_search, infeasible_message

    if method != "exact":
        raise unknown_name("search method", method, ["exact"])
    if latency_table is not None and len(device or []) > 1:
        raise FednasError("one --table for several --device", hint="leave out --table, or give one device")
    budgets = budgets_from(max_latency, max_macs, max_params, max_size)
    chosen = accounting_from(accounting)
    searched = space_from(space, supernet)
    names: list[str | None] = [*(device or [])] or [None]
    models = [model for name in names if (model := latency_model(name, latency_table, precision, profiles))]
    answer = answer_search(
        searched,
        budgets,
        models,
        precision=precision,
        accounting=chosen,
        time_limit_s=time_limit,
    )
    kinds = {model.identity.device: model.identity.kind for model in models}
    emit(search_document(answer, list(kinds)), search_text(answer, kinds))
    if answer.status == "infeasible":
        raise FednasError(infeasible_message(answer), hint="raise the budget")


def search_document(answer: "SearchAnswer", devices: list[str]) -> dict[str, object]:
    """The JSON form."""
    latency = answer.predictions[0].latency_ms if answer.predictions else None
    return {
        "architecture": answer.architecture.as_dict(),
        "fitness": answer.fitness,
        "macs": answer.macs,
        "params": answer.params,
        "weight_bytes": answer.weight_bytes,
        "latency_ms": latency,
        "predictions": [
            {"device": name, **_prediction(p)} for name, p in zip(devices, answer.predictions, strict=True)
        ],
        "status": answer.status,
        "upper_bound": answer.upper_bound,
        "gap": answer.gap,
        "seconds": answer.seconds,
        "limits": [
            {
                "quantity": use.quantity,
                "limit": use.limit,
                "value": use.value,
                "smallest_reachable": use.smallest_reachable,
                "reached_by": use.reached_by and use.reached_by.as_dict(),
            }
            for use in answer.limits
        ],
    }


def search_text(answer: "SearchAnswer", kinds: Mapping[str, str]) -> str:
    """The form for people."""
    from fednas.toolchain.search.request import format_quantity

    arch = answer.architecture
    rows = [
        ("status", _status(answer)),
        ("depths d", " ".join(map(str, arch.d))),
        ("ratios e", " ".join(map(str, arch.e))),
        ("widths w", " ".join(map(str, arch.w_indices))),
        ("fitness", f"{answer.fitness:.4f}"),
        ("MACs", f"{format_count(answer.macs)} ({answer.macs:,})"),
        ("parameters", f"{format_count(answer.params)} ({answer.params:,})"),
        ("weights", format_bytes(answer.weight_bytes)),
    ]
    for (device, kind), p in zip(kinds.items(), answer.predictions, strict=True):
        span = f"{format_latency_ms(p.low_ms)} to {format_latency_ms(p.high_ms)}"
        rows.append((f"latency on {device}", f"{format_latency_ms(p.latency_ms)} ({kind}; {p.coverage:.0%}: {span})"))
    for use in answer.limits:
        used = f"{use.value / use.limit:.1%} of {format_quantity(use.quantity, use.limit)}"
        rows.append((f"budget {use.quantity}", used))
    return table(rows, ("", "architecture found" if answer.status != "infeasible" else "closest architecture"))


def _prediction(prediction: "LatencyPrediction") -> dict[str, object]:
    return dataclasses.asdict(prediction)


def _status(answer: "SearchAnswer") -> str:
    if answer.status == "optimal":
        return f"optimal: no architecture within the budgets is fitter (proven in {answer.seconds:.2f} s)"
    if answer.status == "infeasible":
        return "infeasible: shown is the architecture that comes closest"
    return f"feasible: at most {answer.gap:.3%} below the best (time was up after {answer.seconds:.1f} s)"
