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
from fednas.toolchain.cli.parsing import accounting_from, budgets_from, latency_from, space_from

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyPrediction
    from fednas.toolchain.search.explain import NextBetter
    from fednas.toolchain.search.genetic import GeneticSettings
    from fednas.toolchain.search.request import LimitUse, SearchAnswer


def search(
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    device: Annotated[list[str] | None, typer.Option(help="Device to predict the latency on; may be repeated.")] = None,
    latency_table: TableOption = None,
    max_latency: MaxLatencyOption = None,
    max_macs: MaxMacsOption = None,
    max_params: MaxParamsOption = None,
    max_size: MaxSizeOption = None,
    latency_weight: Annotated[
        float, typer.Option(help="Maximise fitness less this times the predicted milliseconds (one device).")
    ] = 0.0,
    method: Annotated[str, typer.Option(help="'exact': proven optimal; 'genetic': as published.")] = "exact",
    seed: Annotated[int | None, typer.Option(help="Of the genetic search; 42 by default.")] = None,
    population: Annotated[int | None, typer.Option(help="Of the genetic search; 256 by default.")] = None,
    generations: Annotated[int | None, typer.Option(help="Of the genetic search; 512 by default.")] = None,
    accounting: AccountingOption = "network",
    precision: PrecisionOption = "fp32",
    time_limit: Annotated[float | None, typer.Option(help="Seconds; past them the answer is 'feasible'.")] = None,
    profiles: ProfilesOption = None,
) -> None:
    """Find the architecture of highest fitness within the budgets.

    Without --space or --supernet, the embedded space. Several --device: every budget holds on each of them.
    The answer says which budgets bind, and what the next better architecture would cost.
    """
    from fednas.toolchain.search.request import answer_search, infeasible_hint, infeasible_message

    genetic = _genetic(method, seed, population, generations)
    if latency_table is not None and len(device or []) > 1:
        raise FednasError("one --table for several --device", hint="leave out --table, or give one device")
    budgets = budgets_from(max_latency, max_macs, max_params, max_size)
    chosen = accounting_from(accounting)
    searched = space_from(space, supernet)
    names: list[str | None] = [*(device or [])] or ([None] if latency_table else [])
    models = [latency_from(name, latency_table, precision, profiles) for name in names]
    answer = answer_search(
        searched,
        budgets,
        models,
        precision=precision,
        accounting=chosen,
        time_limit_s=_seconds(time_limit),
        genetic=genetic,
        latency_weight=latency_weight,
        explain=True,
    )
    kinds = {model.identity.device: model.identity.kind for model in models}
    emit(search_document(answer, list(kinds)), search_text(answer, kinds))
    if answer.status == "infeasible":
        raise FednasError(infeasible_message(answer), hint=infeasible_hint(answer))


def _genetic(
    method: str, seed: int | None, population: int | None, generations: int | None
) -> "GeneticSettings | None":
    """Settings of a genetic search; None for the exact one."""
    given = {"seed": seed, "population": population, "generations": generations}
    chosen = {name: value for name, value in given.items() if value is not None}
    if method == "genetic":
        from fednas.toolchain.search.genetic import GeneticSettings

        return GeneticSettings(**chosen)
    if method != "exact":
        raise unknown_name("search method", method, ["exact", "genetic"])
    if chosen:
        options = " and ".join(f"--{name}" for name in chosen)
        raise FednasError(f"only the genetic search takes {options}", hint="add --method genetic")
    return None


def _seconds(time_limit: float | None) -> float | None:
    if time_limit is not None and not time_limit > 0:
        raise FednasError(f"--time-limit is {time_limit}; it must be above zero", hint="such as --time-limit 60")
    return time_limit


def search_document(answer: "SearchAnswer", devices: list[str]) -> dict[str, object]:
    """The JSON form."""
    latency = answer.predictions[0].latency_ms if answer.predictions else None
    return {
        "architecture": answer.architecture.as_dict(),
        "fitness": answer.fitness,
        "objective": answer.objective,
        "macs": answer.macs,
        "params": answer.params,
        "weight_bytes": answer.weight_bytes,
        "latency_ms": latency,
        "latency_kind": answer.predictions[0].kind if answer.predictions else None,
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
                "binds": use.next_better is not None if answer.status == "optimal" else None,
                "next_better": use.next_better and _next_document(use, use.next_better),
            }
            for use in answer.limits
        ],
        "of_largest": answer.of_largest and dataclasses.asdict(answer.of_largest),
    }


def search_text(answer: "SearchAnswer", kinds: Mapping[str, str]) -> str:
    """The form for people."""
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
        what = f"{'estimated ' * (kind == 'estimate')}latency on {device}"
        rows.append((what, f"{format_latency_ms(p.latency_ms)} ({p.label}; {p.coverage:.0%}: {span})"))
    rows += [(f"budget {use.quantity}", _use_text(use, answer.status)) for use in answer.limits]
    if answer.objective is not None and answer.objective != answer.fitness:
        rows.append(("objective", f"{answer.objective:.4f} (fitness less the weighted latency)"))
    if (share := answer.of_largest) is not None:
        fitness = "" if share.fitness is None else f"{share.fitness:.1%} of its fitness, "
        rows.append(("largest network", f"{fitness}{share.macs:.1%} of its MACs, {share.params:.1%} of its parameters"))
    return table(rows, ("", "architecture found" if answer.status != "infeasible" else "closest architecture"))


def _use_text(use: "LimitUse", status: str) -> str:
    """How much of a budget is used, and what more of it would bring."""
    from fednas.toolchain.search.request import format_beyond, format_quantity

    share = use.value / use.limit
    times = f"{share:.1%}" if share < 10 else f"{share:,.0f} times"  # a percentage of many digits says nothing
    text = f"{times} of {format_quantity(use.quantity, use.limit)}"
    if use.next_better is not None:
        more = use.next_better.value - use.limit
        needed = f"{format_beyond(use.quantity, use.next_better.value, use.limit)} ({more / use.limit:+.2%})"
        return f"{text}; binds: the next better subnet (fitness {use.next_better.fitness:.4f}) needs {needed}"
    return f"{text}; does not bind" if status == "optimal" else text


def _next_document(use: "LimitUse", step: "NextBetter") -> dict[str, object]:
    return {
        "value": step.value,
        "increase": step.value - use.limit,
        "fitness": step.fitness,
        "architecture": step.architecture.as_dict(),
    }


def _prediction(prediction: "LatencyPrediction") -> dict[str, object]:
    return dataclasses.asdict(prediction)


def _status(answer: "SearchAnswer") -> str:
    if answer.status == "optimal":
        return f"optimal: no architecture within the budgets is fitter (proven in {answer.seconds:.2f} s)"
    if answer.status == "infeasible":
        return "infeasible: shown is the architecture that comes closest"
    return f"feasible: at most {answer.gap:.3%} below the best, not proven optimal ({answer.seconds:.2f} s)"
