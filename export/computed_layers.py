"""What a runtime computes the layers of its own files in, held against what was asked.

Runtimes fuse, drop and insert layers that only move or add numbers, so those are theirs. What costs and what rounds are
the layers that multiply (convolutions and matrix products), and no runtime splits or merges these in our networks:
each of them must be there, and in the precision asked for.
"""

from collections.abc import Mapping

from fednas.export.evidence import Precision

COMPUTED_AS: Mapping[Precision, frozenset[str]] = {
    "fp32": frozenset({"f32"}),
    # Half precision is what the file holds; a processor that cannot compute in it takes more bits, never fewer.
    "fp16": frozenset({"f16", "f32"}),
    "int8": frozenset({"u8", "i8"}),
}
"""By precision, the types in which layers that multiply may be computed, in OpenVINO's words."""


def computed_faults(
    asked: Precision, computed: Mapping[str, int], *, kept: int, products: int | None
) -> tuple[str, ...]:
    """Why files are not computed as asked; empty if they are.

    Args:
        asked: the precision of the files.
        computed: layers that multiply, by the type that they are computed in.
        kept: layers that multiply which the ONNX file keeps in fp32.
        products: layers that multiply of the ONNX file; None if nobody counted them.
    """
    total = sum(computed.values())
    others = {kind: count for kind, count in computed.items() if kind not in COMPUTED_AS[asked]}
    faults = []
    if products is not None and total != products:
        faults.append(f"{total} layers that multiply were counted, the ONNX file has {products}")
    wanted = {"f32": kept} if kept and asked == "int8" else {}
    if others != wanted:
        kept_so = f" but for {kept} kept in fp32" if wanted else ""
        faults.append(f"layers that multiply: {counts_text(computed)}, not {asked}{kept_so} as asked")
    return tuple(faults)


def counts_text(computed: Mapping[str, int]) -> str:
    """Such as ``8 in u8, 2 in f32``."""
    return ", ".join(f"{count} in {kind}" for kind, count in computed.items()) or "none"
