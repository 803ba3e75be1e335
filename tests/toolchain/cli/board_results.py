"""What a board sends home, and the commands that take it."""

from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner, Result

from fednas.export.board.kit import read_kit
from fednas.toolchain.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def result_of(folder: Path, *, wrong_by: float = 0.0, median_ms: float = 2.0) -> dict[str, Any]:
    """What the script would write if both engines gave the source's logits, moved by ``wrong_by``."""
    kit = read_kit(folder)
    with np.load(folder / "test_vectors.npz") as vectors:
        source = vectors["logits"].astype(float)
    engines = [
        {
            "model": model.file,
            "model_sha256": model.sha256,
            "precision": model.precision,
            "failed": "",
            "passed": True,
            "faults": [],
            "engine": model.file.replace(".onnx", ".plan"),
            "engine_sha256": "ab" * 32,
            "engine_bytes": 12345,
            "build_seconds": 20.5,
            "options": ["--stronglyTyped"],
            "strongly_typed": True,
            "logits": (source + wrong_by).tolist(),
            "max_relative_error": wrong_by / float(np.abs(source).max()),
            "top1_agreement": 1.0,
            "max_abs_errors": [wrong_by] * len(source),
            "clock": "device events, no CUDA graph",
            "batch": 1,
            "samples_ms": [median_ms + 0.001 * (i - 75) for i in range(151)],
            "layers": [{"name": "conv", "kind": "CaskConvolution", "precision": model.precision}],
            "layers_missing": "",
        }
        for model in kit.models
    ]
    machine = {"board": "NVIDIA Jetson Orin Nano <script>alert(1)</script>", "l4t": "# R36", "system": "Linux aarch64"}
    gpu = {"name": "Orin", "compute_capability": "8.7", "cuda": "12.6", "driver": "12.6"}
    settings = {"workspace_mib": 512, "level": 3, "smallest": 1, "tuned": 1, "largest": 8, "seconds": 10}
    return {
        "schema": 1,
        "kit_sha256": kit.sha256,
        "manifest_sha256": "cd" * 32,
        "device": kit.device,
        "created": "2026-01-02T03:04:05+00:00",
        "machine": {**machine, **gpu, "python": "3.10.12", "power_mode": "25W"},
        "temperature_c": {"before": 41.5, "after": None},
        "tensorrt": "10.3.0",
        "way": "module",
        "settings": settings,
        "engines": engines,
    }
