"""The small supernet that ships with the package, trained by this project's own `train` on scikit-learn's digits."""

from importlib.resources import files
from pathlib import Path

__all__ = ["embedded_cache_path", "embedded_record_path", "embedded_space_path", "embedded_supernet_path"]


def embedded_space_path() -> Path:
    """Search space of the embedded supernet (JSON)."""
    return _path("digits-space.json")


def embedded_supernet_path() -> Path:
    """The trained weights (safetensors)."""
    return _path("digits-supernet.safetensors")


def embedded_cache_path() -> Path:
    """The Pareto-optimal architectures that it was trained on (CSV)."""
    return _path("digits-cache.csv")


def embedded_record_path() -> Path:
    """The record of its training (JSON), the same as in the header of the weights."""
    return _path("digits-training.json")


def _path(name: str) -> Path:
    # The package is always installed as files: torch and onnxruntime could not run from a zip either.
    return Path(str(files(__name__).joinpath(name)))
