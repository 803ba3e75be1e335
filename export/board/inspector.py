"""Which precision each layer of a built engine has, from the inspector's JSON of TensorRT 8.6, 10 and 11.

The same text comes from ``EngineInspector.get_engine_information`` and from ``trtexec --exportLayerInfo``. Up to 10
a tensor has ``Format/Datatype`` in one string, from 11 on two entries; both are read, and so are other spellings.
"""

import json
from typing import Any, Dict, List, NamedTuple, Optional

from fednas.export.board.problem import BoardProblem

LAYER_WORDS = (("int8", ("int8",)), ("fp16", ("fp16", "half")), ("fp32", ("fp32", "float")))
"""Precision and how it is called in format texts, asked in this order: FP16 texts may say float."""
MOVING_LAYERS = ("reformat", "noop", "constant", "shuffle", "signal", "wait", "copy", "identity", "shape")
"""Layer types that only move numbers."""


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


def engine_faults(layers: List[EngineLayer], asked: str) -> List[str]:
    """Why an engine is not what was asked; empty if it is, or if the inspector does not say.

    ``fp16`` and ``int8`` ask for a share of the layers: what TensorRT leaves in more bits is counted, not refused. But
    none at all means that the engine was silently built in another precision.
    """
    known = [layer for layer in layers if layer.precision != "unknown"]
    if not known:
        return []
    if asked == "fp32":
        wrong = [layer for layer in known if layer.precision != "fp32"]
        return ["layer %s runs in %s, not fp32" % (layer.name, layer.precision) for layer in wrong[:3]]
    if any(layer.precision == asked for layer in known):
        return []
    return ["no layer of the engine runs in %s, of %d whose precision is known" % (asked, len(known))]


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
