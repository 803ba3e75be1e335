"""Which precision each layer of a built engine has, from the inspector's JSON of TensorRT 8.6, 10 and 11.

The same text comes from ``EngineInspector.get_engine_information`` and from ``trtexec --exportLayerInfo``. Up to 10
a tensor has ``Format/Datatype`` in one string, from 11 on two entries; both are read, and so are other spellings.
"""

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from fednas.export.board.problem import BoardProblem

LAYER_WORDS = (("int8", ("int8",)), ("fp16", ("fp16", "half")), ("fp32", ("fp32", "float")))
"""Precision and how it is called in format texts, asked in this order: FP16 texts may say float."""
MOVING_LAYERS = ("reformat", "noop", "constant", "shuffle", "signal", "wait", "copy", "identity", "shape")
"""Layer types that only move numbers."""
MULTIPLYING_LAYERS = ("conv", "gemm", "gemv", "matmul", "matrixmultiply", "matrix_multiply", "fullyconnected")
"""Words in the types of layers that hold a convolution or a matrix product, alone or fused with what follows it."""
MOST_FAULTS = 3
"""Layers that a complaint names."""


class EngineLayer(NamedTuple):
    """One layer of an engine; it may hold several of the network, fused."""

    name: str
    kind: str
    precision: str
    """``int8``, ``fp16``, ``fp32`` or ``unknown``."""


def read_inspector(text: str) -> List[EngineLayer]:
    """The layers that compute, in their order; raises `BoardProblem` if the text is not the inspector's."""
    try:
        # Names are written unescaped by some versions.
        content = json.loads(text, strict=False)
    except ValueError as err:
        raise BoardProblem("the engine inspector's JSON cannot be read: %s" % err) from err
    layers = content.get("Layers") if isinstance(content, dict) else None
    if not isinstance(layers, list):
        raise BoardProblem("the engine inspector's JSON has no list of Layers")
    found = [_engine_layer(layer) for layer in layers]
    return [layer for layer in found if not any(word in layer.kind.lower() for word in MOVING_LAYERS)]


def multiplies(layer: EngineLayer) -> bool:
    """Whether it holds a convolution or a matrix product.

    A region that TensorRT compiles as one (``Myelin``, ``kgen``) does not say what it holds, and does not count.
    """
    return any(word in layer.kind.lower() for word in MULTIPLYING_LAYERS)


def engine_faults(
    layers: List[EngineLayer], asked: str, kept: Sequence[str] = (), strongly_typed: bool = False
) -> List[str]:
    """Why an engine is not what was asked; empty if it is, or if the inspector does not say.

    ``fp32`` asks for every layer. ``int8`` and ``fp16`` ask for every layer that multiplies, but for those that the
    ONNX file keeps in more bits; what lies between them (pooling, additions, sums) is TensorRT's to choose. With
    weak types ``fp16`` is leave, not an order, and TensorRT takes what it timed as faster: there most of those layers
    must run in it. An engine without any layer in the precision asked for was silently built in another.

    Args:
        layers: of `read_inspector`.
        asked: ``int8``, ``fp16`` or ``fp32``.
        kept: names of convolutions and matrix products that the file keeps in fp32.
        strongly_typed: whether the engine had to follow the types of the file.
    """
    known = [layer for layer in layers if layer.precision != "unknown"]
    if not known:
        return []
    if asked == "fp32":
        return _named([layer for layer in known if layer.precision != "fp32"], asked)
    if not any(layer.precision == asked for layer in known):
        return ["no layer of the engine runs in %s, of %d whose precision is known" % (asked, len(known))]
    heavy = [layer for layer in known if multiplies(layer)]
    wrong = _beyond_kept([layer for layer in heavy if layer.precision != asked], kept)
    if asked == "fp16" and not strongly_typed and 2 * len(wrong) < len(heavy):
        return []
    return _named(wrong, asked)


def _beyond_kept(others: List[EngineLayer], kept: Sequence[str]) -> List[EngineLayer]:
    """Those that no layer of the file accounts for: by name, else, since regions get names of their own, by number."""
    found = {name for name in kept if any(_mentions(layer, name) for layer in others)}
    unnamed = [layer for layer in others if not any(_mentions(layer, name) for name in found)]
    return unnamed if len(unnamed) > len(set(kept) - found) else []


def _mentions(layer: EngineLayer, name: str) -> bool:
    return re.search(r"(?<![\w./])%s(?![\w./])" % re.escape(name), layer.name) is not None


def _named(wrong: List[EngineLayer], asked: str) -> List[str]:
    faults = ["layer %s runs in %s, not %s" % (layer.name, layer.precision, asked) for layer in wrong[:MOST_FAULTS]]
    more = len(wrong) - len(faults)
    return faults + (["%d more layers do not run in %s" % (more, asked)] if more else [])


def _engine_layer(layer: Any) -> EngineLayer:
    if isinstance(layer, str):  # built without details: names only
        return EngineLayer(layer, "unknown", "unknown")
    if not isinstance(layer, dict):
        raise BoardProblem("the engine inspector's JSON has a layer that is neither a name nor an object")
    kind = str(layer.get("LayerType", "unknown"))
    return EngineLayer(str(layer.get("Name", "unnamed")), kind, _layer_precision(layer))


def _layer_precision(layer: Dict[str, Any]) -> str:
    weights = layer.get("Weights")
    if isinstance(weights, dict) and weights.get("Count"):
        found = _word_in(weights.get("Type"))
        if found is not None:
            return found
    for tensors in (layer.get("Inputs"), layer.get("Outputs")):
        for tensor in tensors if isinstance(tensors, list) else []:
            found = _tensor_precision(tensor)
            if found is not None:
                return found
    return "unknown"


def _tensor_precision(tensor: Any) -> Optional[str]:
    if not isinstance(tensor, dict):
        return None
    for key in ("Datatype", "DataType", "Data Type", "Format/Datatype", "Format"):
        found = _word_in(tensor.get(key))
        if found is not None:
            return found
    return None


def _word_in(text: Any) -> Optional[str]:
    lowered = str(text).lower()
    return next((precision for precision, words in LAYER_WORDS if any(word in lowered for word in words)), None)
