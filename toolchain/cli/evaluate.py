"""``evaluate``: the accuracy of chosen subnets."""

from pathlib import Path
from typing import Annotated

import typer

from fednas.toolchain.cli.output import emit, note, progress_bar, table


def evaluate(
    supernet: Annotated[Path, typer.Option(help="Trained supernet (.safetensors, or a published .pt checkpoint).")],
    archs: Annotated[Path, typer.Option(help="CSV file with columns d, e and w_indices.")],
    data: Annotated[str, typer.Option(help="digits, cifar10:DIR, cifar100:DIR, cinic10:DIR, folder:DIR or npz:FILE.")],
    part: Annotated[str, typer.Option(help="test, or validation for making choices.")] = "test",
    recalibration_images: Annotated[
        int, typer.Option(help="Training images for the batch norms of each subnet.")
    ] = 1000,
) -> None:
    """Measure the accuracy of subnets, each with batch norms recalibrated on training images."""
    from fednas.common import format_count, unknown_name
    from fednas.toolchain.data import load_data, parse_data_spec
    from fednas.toolchain.federated import evaluate_architectures
    from fednas.toolchain.space import read_architectures
    from fednas.toolchain.supernet import open_supernet

    if part not in ("test", "validation"):
        raise unknown_name("part of the data", part, ("test", "validation"))
    spec = parse_data_spec(data)
    loaded = open_supernet(supernet)
    space = loaded.header.space
    architectures = read_architectures(archs, space)
    images = load_data(spec, channels=space.initial_input_channels, side=space.initial_input_hw)
    images.check_fits(space.initial_input_channels, space.initial_input_hw, space.n_classes)
    if loaded.header.preprocessing is None:
        note(f"{supernet} does not say how its images were normalised; the values of {images.name} are used")
    else:
        images = images.with_preprocessing(loaded.header.preprocessing)
    total = len(architectures)
    with progress_bar("evaluating") as progress:
        results = evaluate_architectures(
            loaded.supernet,
            architectures,
            images,
            "test" if part == "test" else "validation",
            recalibration_images=recalibration_images,
            on_done=lambda done: progress(done, total, f"{done} of {total}"),
        )
    rows = [
        (
            str(result.architecture),
            format_count(result.macs),
            format_count(result.params),
            f"{result.accuracy:.2%}",
            f"{result.low:.2%} to {result.high:.2%}",
        )
        for result in results
    ]
    emit(results, table(rows, ("architecture", "MACs", "params", "accuracy", "95 % interval")))
