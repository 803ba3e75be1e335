"""``import``: a published checkpoint as a supernet file of this project."""

from pathlib import Path
from typing import Annotated

import typer

from fednas.toolchain.cli.output import emit, note


def import_supernet(
    checkpoint: Annotated[Path, typer.Argument(help="Published DeepFedNAS checkpoint (.pt).")],
    out: Annotated[Path, typer.Option(help="Supernet file to write (.safetensors).")],
    dataset: Annotated[
        str | None,
        typer.Option(help="What it was trained on: cifar10, cifar100 or cinic10; says how images are normalised."),
    ] = None,
) -> None:
    """Import a published checkpoint, without executing anything in it.

    A checkpoint does not say which data set it was trained on; with --dataset the file gets the normalisation
    that the published code uses for it.
    """
    import msgspec

    from fednas.common import FednasError
    from fednas.toolchain.data import published_preprocessing
    from fednas.toolchain.supernet import open_supernet, save_supernet

    if checkpoint.suffix not in (".pt", ".pth"):
        raise FednasError(f"{checkpoint} does not end in .pt", hint="give a published checkpoint")
    if out.suffix != ".safetensors":
        raise FednasError(f"--out {out} must end in .safetensors", hint=f"write {out.with_suffix('.safetensors')}")
    loaded = open_supernet(checkpoint)
    header = loaded.header
    if dataset is not None:
        header = msgspec.structs.replace(header, dataset=dataset, preprocessing=published_preprocessing(dataset))
    else:
        note("without --dataset the file does not say how images are normalised; that of the data set is used later")
    save_supernet(out, loaded.supernet, header)
    text = (
        f"imported {checkpoint} as {out}: normalization {header.space.normalization}, {header.space.n_classes} classes"
    )
    emit(header, text)
