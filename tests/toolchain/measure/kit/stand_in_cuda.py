"""A board with the Python module tensorrt: a stand-in in Python 3.6, and a libcudart compiled from C."""

import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

# Half a millisecond for each run, as the GPU's own clock counts it.
LIBCUDART = """
    #include <stdlib.h>
    #include <string.h>
    static float clock_ms = 0; static int capturing = 0;
    const char *cudaGetErrorString(int e) { return "made to fail"; }
    int cudaGetDeviceCount(int *n) { *n = 1; return 0; }
    int cudaDeviceGetAttribute(int *v, int which, int device) { *v = which == 75 ? 8 : 7; return 0; }
    int cudaRuntimeGetVersion(int *v) { *v = 12060; return 0; }
    int cudaDriverGetVersion(int *v) { *v = 12060; return 0; }
    int cudaMalloc(void **p, size_t n) { *p = malloc(n); return *p == 0; }
    int cudaFree(void *p) { free(p); return 0; }
    int cudaMemcpy(void *to, const void *from, size_t n, int kind) { memcpy(to, from, n); return 0; }
    int cudaStreamCreate(void **s) { *s = malloc(1); return 0; }
    int cudaStreamSynchronize(void *s) { return s == 0; }
    int cudaStreamDestroy(void *s) { free(s); return 0; }
    int cudaEventCreate(void **e) { *e = malloc(sizeof(float)); return 0; }
    int cudaEventRecord(void *e, void *s) { *(float *)e = clock_ms; return 0; }
    int cudaEventSynchronize(void *e) { return e == 0; }
    int cudaEventElapsedTime(float *ms, void *a, void *b) { *ms = *(float *)b - *(float *)a; return 0; }
    int cudaEventDestroy(void *e) { free(e); return 0; }
    int cudaStreamBeginCapture(void *s, int mode) { capturing = !CAPTURE; return CAPTURE; }
    int cudaStreamEndCapture(void *s, void **g) { capturing = 0; *g = malloc(1); return 0; }
    int cudaGraphInstantiate(void **x, void *g, unsigned long long flags) { *x = malloc(1); return flags != 0; }
    int cudaGraphDestroy(void *g) { free(g); return 0; }
    int cudaGraphLaunch(void *x, void *s) { clock_ms += 0.5f; return x == 0 || s == 0; }
    int cudaGraphExecDestroy(void *x) { free(x); return 0; }
    int stand_in_run(void *s) { if (!capturing) clock_ms += 0.5f; return s == 0; }
"""
TENSORRT = """
    import ctypes, enum
    __version__ = "10.3.0"
    _cuda = ctypes.CDLL("libcudart.so")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2
        def __init__(self):
            pass

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        EXPLICIT_BATCH = 0
        STRONGLY_TYPED = 1

    class MemoryPoolType:
        WORKSPACE = 0

    class ProfilingVerbosity:
        DETAILED = 2

    class LayerInformationFormat:
        JSON = 1

    class TensorIOMode(enum.Enum):
        INPUT = 1
        OUTPUT = 2

    class _Cache:
        def serialize(self):
            return b"timings"

    class _Config:
        builder_optimization_level = 3
        def set_memory_pool_limit(self, pool, size):
            assert size == 1 << 30
        def create_timing_cache(self, content):
            return _Cache()
        def set_timing_cache(self, cache, ignore):
            return True
        def get_timing_cache(self):
            return _Cache()

    class Builder:
        def __init__(self, logger):
            pass
        def create_network(self, flags):
            assert flags == 3
        def create_builder_config(self):
            return _Config()
        def build_serialized_network(self, network, config):
            return b"plan"

    class OnnxParser:
        num_errors = 0
        def __init__(self, network, logger):
            pass
        def parse(self, content):
            return len(content) > 0

    class _Inspector:
        def get_engine_information(self, kind):
            return '{"Layers": [{"Name": "c", "LayerType": "Conv", "Inputs": [{"Format/Datatype": "FP32"}]}]}'

    class _Context:
        def set_tensor_address(self, name, address):
            assert address
        def execute_async_v3(self, stream_handle):
            return _cuda.stand_in_run(ctypes.c_void_p(stream_handle)) == 0

    class _Engine:
        num_io_tensors = 2
        def create_execution_context(self):
            return _Context()
        def create_engine_inspector(self):
            return _Inspector()
        def get_tensor_name(self, index):
            return ("input", "output")[index]
        def get_tensor_shape(self, name):
            return (1, 1, 8, 8) if name == "input" else (1, 4)
        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if name == "input" else TensorIOMode.OUTPUT

    class Runtime:
        def __init__(self, logger):
            pass
        def deserialize_cuda_engine(self, plan):
            return _Engine() if bytes(plan) == b"plan" else None
"""


def stand_in_tensorrt(folder: Path, *, capture_error: int = 0) -> dict[str, str]:
    """Environment with tensorrt 10.3 and CUDA 12.6; the test is skipped without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a stand-in for libcudart")
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "cudart.c"
    source.write_text(textwrap.dedent(LIBCUDART))
    flags = [f"-DCAPTURE={capture_error}", "-shared", "-fPIC", "-o", str(folder / "libcudart.so")]
    subprocess.run([compiler, *flags, str(source)], check=True)
    (folder / "tensorrt.py").write_text(textwrap.dedent(TENSORRT))
    return {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin:/bin"}
