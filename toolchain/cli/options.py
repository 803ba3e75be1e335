"""Options that several commands share, named once."""

from pathlib import Path
from typing import Annotated

import typer

SpaceOption = Annotated[Path | None, typer.Option("--space", help="Search space file (JSON).")]
SupernetOption = Annotated[
    Path | None, typer.Option("--supernet", help="Trained supernet (.safetensors, or a published .pt checkpoint).")
]
TableArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Latency table (JSON).")]
TableOption = Annotated[Path | None, typer.Option("--table", help="Measured latency table to predict with.")]
ProfilesOption = Annotated[
    Path | None,
    typer.Option("--profiles", envvar="FEDNAS_PROFILES", help="Folder with device profiles of your own (TOML)."),
]
AccountingOption = Annotated[
    str,
    typer.Option(help="'network': what the exported network costs; 'published': what the public code reports."),
]
MaxLatencyOption = Annotated[str | None, typer.Option(help="Predicted latency at most this, such as 5ms or 750us.")]
MaxMacsOption = Annotated[str | None, typer.Option(help="Multiply-accumulates at most this, such as 500M.")]
MaxParamsOption = Annotated[str | None, typer.Option(help="Parameters at most this, such as 1.2M.")]
MaxSizeOption = Annotated[
    str | None, typer.Option(help="Size at most this, such as 3MB: of the weights, in the main job of the ONNX file.")
]
PrecisionOption = Annotated[str, typer.Option(help="Precision of the weights and activations: fp32, fp16 or int8.")]
