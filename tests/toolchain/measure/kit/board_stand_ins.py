"""Boards for the kit's script: old Pythons, and stand-ins for what cannot be installed for them here."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PYTHONS = [f"3.{minor}" for minor in range(6, 14)]

# Just what the script asks of numpy and ONNX Runtime, in Python 3.6; a model is as slow as its file is long.
NUMPY = """
    import random
    float32, __version__ = "float32", "1.19.5"

    class _Array:
        def __init__(self, shape):
            self.shape = tuple(shape)
        def astype(self, kind):
            return self

    class _Finite:
        def all(self):
            return True

    def isfinite(array):
        return _Finite()

    class random:
        class RandomState:
            def __init__(self, seed):
                pass
            def standard_normal(self, shape):
                return _Array(shape)
"""
ONNXRUNTIME = """
    import os, time, numpy
    __version__ = "1.10.0"

    class ExecutionMode:
        ORT_SEQUENTIAL = 0

    class GraphOptimizationLevel:
        ORT_ENABLE_ALL = 99

    class SessionOptions:
        pass

    class OrtValue:
        @staticmethod
        def ortvalue_from_numpy(array):
            return OrtValue()
        @staticmethod
        def ortvalue_from_shape_and_type(shape, kind, device):
            return OrtValue()

    class _Value:
        name = "value"

    class _Binding:
        def bind_ortvalue_input(self, name, value):
            pass
        bind_ortvalue_output = bind_ortvalue_input

    class InferenceSession:
        def __init__(self, path, options, providers):
            self._slow_s = 2e-5 + os.path.getsize(path) / 1e10
        def get_providers(self):
            return ["CPUExecutionProvider"]
        def get_inputs(self):
            return [_Value()]
        get_outputs = get_inputs
        def run(self, names, feed):
            return [numpy._Array((1, 4))]
        def io_binding(self):
            return _Binding()
        def run_with_iobinding(self, binding):
            end = time.perf_counter() + self._slow_s
            while time.perf_counter() < end:
                pass
"""
# As trtexec 8.5, 10.3 and 11.0 take their options; the median of its times is 0.5 ms.
TRTEXEC = """
    #!/bin/sh
    echo "&&&& RUNNING TensorRT.trtexec [TensorRT v@VERSION@] # trtexec $*"
    for option in "$@"; do
        case "$option" in
            --help) exit 0 ;;
            --onnx=*) test -s "${option#*=}" || exit 1 ;;
            --saveEngine=*) echo engine > "${option#*=}" ;;
            --exportLayerInfo=*)
                printf '%s' '{"Layers": [{"Name": "conv", "LayerType": "Convolution",
                    "Inputs": [{"Name": "x", "Format/Datatype": "@LAYER@"}], "Outputs": []}]}' > "${option#*=}" ;;
            --loadEngine=*) grep -q engine "${option#*=}" || exit 1 ;;
            --exportTimes=*) printf '[{"computeMs": 0.25},{"computeMs": 0.5},{"computeMs": 8}]' > "${option#*=}" ;;
            @OPTIONS@) ;;
            *)
                echo "[11/22/2026-10:00:00] [E] Unknown option: $option"
                echo "&&&& FAILED TensorRT.trtexec [TensorRT v@VERSION@]"
                exit 1 ;;
        esac
        echo "$option" >> "@LOG@"
    done
    echo "&&&& PASSED TensorRT.trtexec [TensorRT v@VERSION@]"
"""
TRTEXEC_OPTIONS = {
    "8205": "--workspace=*|--buildOnly|--timingCacheFile=*",
    "8502": "--memPoolSize=workspace:1024|--buildOnly|--fp16|--profilingVerbosity=detailed|--timingCacheFile=*",
    "100300": "--memPoolSize=workspace:1024|--skipInference|--stronglyTyped|--profilingVerbosity=detailed"
    "|--builderOptimizationLevel=*|--timingCacheFile=*",
    "110000": "--memPoolSize=workspace:1024|--skipInference|--profilingVerbosity=detailed"
    "|--builderOptimizationLevel=*|--timingCacheFile=*",
}
UP_TO_10 = "|--useCudaGraph|--useSpinWait|--noDataTransfers"
ALWAYS = "|--warmUp=*|--duration=*|--iterations=*"


def python_of(version: str) -> str:
    """Path of a Python that runs, in PATH or among pyenv's; the test is skipped where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    for program in filter(None, found):
        asked = [program, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return program
    pytest.skip(f"no Python {version} on this machine")


def stand_in_onnxruntime(folder: Path) -> dict[str, str]:
    """Environment in which `import numpy, onnxruntime` gives the stand-ins, and nothing else is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in (("numpy", NUMPY), ("onnxruntime", ONNXRUNTIME)):
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    # Without byte code: a test may forbid this process to write files of that size.
    return {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def stand_in_trtexec(folder: Path, version: str, *, layer: str = "Row major linear FP32") -> dict[str, str]:
    """Environment in which only a trtexec of this version (as its banner writes it) is there."""
    folder.mkdir(parents=True, exist_ok=True)
    options = TRTEXEC_OPTIONS[version] + ALWAYS + ("" if version == "110000" else UP_TO_10)
    text = textwrap.dedent(TRTEXEC).lstrip()
    for mark, value in {"VERSION": version, "OPTIONS": options, "LAYER": layer, "LOG": str(folder / "log")}.items():
        text = text.replace(f"@{mark}@", value)
    program = folder / "trtexec"
    program.write_text(text)
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def stand_in_nvidia_smi(folder: Path, answer: str) -> None:
    """Put a program into a folder of PATH that answers every query so."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)


def command(kit: Path, *options: object, python: str = sys.executable) -> list[str]:
    """The script of a kit, without what this Python has installed unless the environment brings it."""
    return [python, "-S", str(kit / "measure.py"), *map(str, options)]


def run(
    kit: Path, *options: object, python: str = sys.executable, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the script to its end."""
    return subprocess.run(
        command(kit, *options, python=python), env=environment, capture_output=True, text=True, check=False, timeout=120
    )
