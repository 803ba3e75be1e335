"""``train``: a supernet, federatedly, on this machine."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from fednas.toolchain.cli.output import emit, note, progress_bar, table, warn

if TYPE_CHECKING:
    from fednas.toolchain.supernet import TrainingRecord


def train(
    space: Annotated[Path, typer.Option(help="Search space file (JSON).")],
    cache: Annotated[Path, typer.Option(help="Cache of architectures to train on (CSV of `cache`).")],
    data: Annotated[str, typer.Option(help="digits, cifar10:DIR, cifar100:DIR, cinic10:DIR, folder:DIR or npz:FILE.")],
    rounds: Annotated[int, typer.Option(help="Rounds of training and averaging.")],
    out: Annotated[Path, typer.Option(help="Supernet file to write (.safetensors).")],
    clients: Annotated[int, typer.Option(help="Clients that hold the training images.")] = 20,
    per_round: Annotated[int, typer.Option(help="Clients that train in each round, at least 2.")] = 8,
    alpha: Annotated[float, typer.Option(help="Dirichlet concentration of the classes over clients.")] = 1.0,
    iid: Annotated[bool, typer.Option("--iid", help="Deal the images out evenly instead.")] = False,
    sampler: Annotated[
        str, typer.Option(help="optimal-path (DeepFedNAS) or random-sandwich (SuperFedNAS).")
    ] = "optimal-path",
    normalization: Annotated[
        str | None, typer.Option(help="batch or none; what the search space says by default.")
    ] = None,
    local_epochs: Annotated[int, typer.Option(help="Epochs of each client in a round.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images of a local step.")] = 64,
    lr: Annotated[float, typer.Option(help="Learning rate of SGD.")] = 0.1,
    lr_schedule: Annotated[
        str, typer.Option(help="constant, or cosine: falling towards 0 over the rounds.")
    ] = "constant",
    momentum: Annotated[float, typer.Option(help="Momentum of SGD.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of SGD.")] = 5e-4,
    max_norm: Annotated[float, typer.Option(help="Global norm that gradients are clipped to.")] = 10.0,
    max_shift: Annotated[int, typer.Option(help="Shift training images by up to this many pixels.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the training images.")] = False,
    weighting: Annotated[str, typer.Option(help="cosine-largest or uniform.")] = "cosine-largest",
    largest_weight: Annotated[float, typer.Option(help="Weight of the largest network's client at first.")] = 0.9,
    largest_weight_final: Annotated[
        float | None, typer.Option(help="Its weight in the end; 1 / per-round by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
    record: Annotated[Path | None, typer.Option(help="Also write the training record here (JSON).")] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Rounds between checkpoints.")] = 50,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
) -> None:
    """Train a supernet federatedly, all clients in this process, and report the accuracy of three subnets.

    A stopped training goes on exactly where its last checkpoint stands: repeat the command with --resume.
    """
    import msgspec

    from fednas.common import encode_json, write_atomic
    from fednas.toolchain.data import load_data, parse_data_spec
    from fednas.toolchain.federated import RoundReport, curriculum_of, never_trained, train_supernet
    from fednas.toolchain.space import load_space
    from fednas.toolchain.space.search_space import Normalization
    from fednas.toolchain.supernet.record import LrSchedule, SamplerName, TrainingSettings, WeightingName

    settings = TrainingSettings(
        rounds=rounds,
        clients=clients,
        per_round=per_round,
        alpha=None if iid else alpha,
        sampler=_choice("--sampler", sampler, SamplerName),
        local_epochs=local_epochs,
        batch_size=batch_size,
        lr=lr,
        lr_schedule=_choice("--lr-schedule", lr_schedule, LrSchedule),
        momentum=momentum,
        weight_decay=weight_decay,
        max_norm=max_norm,
        max_shift=max_shift,
        flip=flip,
        weighting=_choice("--weighting", weighting, WeightingName),
        largest_weight=largest_weight,
        largest_weight_final=largest_weight_final,
        seed=seed,
    )
    the_space = load_space(space)
    if normalization is not None:
        kind = _choice("--normalization", normalization, Normalization)
        the_space = msgspec.structs.replace(the_space, normalization=kind)
    spec = parse_data_spec(data)
    images = load_data(spec, channels=the_space.initial_input_channels, side=the_space.initial_input_hw)
    curriculum = curriculum_of(the_space, cache, settings.sampler)
    if never_trained(the_space, curriculum.sampler):
        warn("the cache lacks the largest network of the space; weights outside its networks are never trained")
    with progress_bar("training") as progress:

        def on_round(report: RoundReport) -> None:
            loss = sum(report.losses) / len(report.losses)
            progress(report.round_index + 1, rounds, f"round {report.round_index + 1} of {rounds}, loss {loss:.3f}")

        result = train_supernet(
            the_space,
            images,
            curriculum,
            settings,
            out,
            command=shlex.join(["fednas-export", *sys.argv[1:]]),
            resume=resume,
            checkpoint_every=checkpoint_every,
            on_round=on_round,
        )
    if record is not None:
        write_atomic(record, encode_json(result))
    note(f"trained {rounds} rounds in {result.seconds:.0f} s; wrote {out}")
    emit(result, record_text(result))


def _choice(option: str, text: str, names: Any) -> Any:
    """``text``, if it is one of the names of a Literal type."""
    from fednas.common import unknown_name

    if text not in get_args(names):
        raise unknown_name(f"value of {option}", text, get_args(names))
    return text


def record_text(record: "TrainingRecord") -> str:
    """The accuracies of a training record as a table."""
    from fednas.common import format_count

    rows = [
        (
            named.name,
            format_count(part.macs),
            format_count(part.params),
            title,
            f"{part.accuracy:.2%}",
            f"{part.low:.2%} to {part.high:.2%}",
        )
        for named in record.accuracies
        for title, part in (("validation", named.validation), ("test", named.test))
    ]
    return table(rows, ("subnet", "MACs", "params", "images", "accuracy", "95 % interval"))
