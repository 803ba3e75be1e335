"""The name of a timing cache, from everything that its timings depend on."""

import hashlib
import json
import re
from typing import NamedTuple, Optional


class TimingKey(NamedTuple):
    """What two builds must share to share timings.

    The model is not part of it: TensorRT itself keys each timing by the layer and its shapes.
    """

    tensorrt: str
    gpu: Optional[str]
    compute_capability: Optional[str]
    cuda: Optional[str]
    driver: Optional[str]
    workspace_mib: int
    level: int
    precision: str
    """What the file holds: with weak types it decides the flags, and so the kernels that were timed."""
    strongly_typed: bool


def timing_cache_name(key: TimingKey) -> str:
    """Such as ``timing-10.3.0-sm87-3f9c1a2b4d5e.cache``: version and chip to read, the rest as a hash."""
    content = json.dumps(list(key), separators=(",", ":"))
    digest = hashlib.sha256(content.encode("utf-8")).hexdigest()[:12]
    version = re.sub(r"[^0-9.]", "", key.tensorrt) or "0"
    chip = "sm" + re.sub(r"[^0-9]", "", key.compute_capability or "") if key.compute_capability else "gpu"
    return "timing-%s-%s-%s.cache" % (version, chip, digest)
