"""Settings and state of the NVIDIA GPU that measures, by the reader that kits carry.

Built on documented queries and recorded files, and tested against stand-ins for them; no NVIDIA GPU was at hand.
"""

from collections.abc import Callable
from pathlib import Path

from fednas.latency_tables import GpuState
from fednas.toolchain.measure.system_files import ROOT

ReadGpu = Callable[[], GpuState | None]


def read_gpu_state(root: Path = ROOT, *, name: str | None = None) -> GpuState | None:
    """The state as it is now; None where nothing tells it.

    Args:
        root: holds ``sys`` and ``etc``; programs are only asked about the machine itself.
        name: of the GPU that CUDA uses. If nvidia-smi's first card is another one, nothing is said of it.
    """
    # Here, since kits take their rules from modules that import this one.
    from fednas.toolchain.measure.kit.board.gpu import read_gpu

    found = read_gpu(str(root), name)
    if found is None:
        return None
    known = found._asdict()
    del known["name"]
    return GpuState(**known)
