"""Prediction must run on a small board or a CI runner with nothing heavy imported."""

import subprocess
import sys

HEAVY = ("torch", "onnxruntime", "onnx", "scipy", "sklearn", "numpy")


def test_the_room_imports_nothing_heavy() -> None:
    code = f"import fednas.latency_tables, sys; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
