"""The one part of a shipped folder that differs between two runs on the same inputs."""

import datetime
import platform

from fednas.export.records import Record
from fednas.profiles import installed_version


class Build(Record, frozen=True, kw_only=True):
    """When and with what the folder was made."""

    created: str
    """UTC, ISO 8601."""
    tool_version: str
    versions: dict[str, str]
    """Of python, torch, onnx, onnxruntime, numpy, the platform, and of other runtimes that are installed."""


def build_record() -> Build:
    """Date and versions of this very run."""
    packages = ("torch", "onnx", "onnxruntime", "numpy")
    versions = {package: installed_version(package) or "not installed" for package in packages}
    converters = {package: installed_version(package) for package in ("openvino", "ncnn", "pnnx")}
    versions |= {package: version for package, version in converters.items() if version is not None}
    return Build(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tool_version=installed_version("fednas-export") or "unknown",
        versions={"python": platform.python_version(), **versions, "platform": platform.platform(terse=True)},
    )
