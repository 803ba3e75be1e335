"""What ncnn's two files say of themselves: how many channels they take, and in what their weights are stored.

The layout is that of ncnn's own documents: a line for each layer in ``.param`` (type, name, numbers of inputs and
outputs, their names, then ``key=value``), and in ``.bin`` the weights of these layers in turn, each behind four bytes
that say how they are stored, followed by the biases as plain float32.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fednas.common import FednasError

HALF_TAG, FLOAT_TAG = 0x01306B47, 0
"""Before weights of 16 bits and of 32."""
_TAG_BYTES = 4
_FLOAT_BYTES = 4


class WeightedLayer(NamedTuple):
    """A convolution or a matrix product with weights of its own."""

    name: str
    weights: int
    biases: int
    in_channels: int


def weighted_layers(param: str) -> tuple[WeightedLayer, ...]:
    """Those of the text of a ``.param`` file, in their order; raises `FednasError` for what ncnn does not write."""
    return tuple(_weighted_layers(param))


def _weighted_layers(param: str) -> Iterator[WeightedLayer]:
    for line in param.splitlines()[2:]:
        words = line.split()
        try:
            keys = dict(word.split("=", 1) for word in words if "=" in word)
            found = _layer(words[0], words[1], keys) if words else None
        except (ValueError, LookupError, ZeroDivisionError) as err:
            raise FednasError(f"ncnn network has a layer that cannot be read: {line.strip()[:80]}") from err
        if found is not None:
            yield found


def _layer(kind: str, name: str, keys: Mapping[str, str]) -> WeightedLayer | None:
    if kind in ("Convolution", "ConvolutionDepthWise"):
        width = int(keys["1"])
        kernel, groups = width * int(keys.get("11", width)), int(keys.get("7", 1))
        weights, bias = int(keys["6"]), int(keys.get("5", 0))
    elif kind == "InnerProduct":
        kernel, groups, weights, bias = 1, 1, int(keys["2"]), int(keys.get("1", 0))
    else:
        return None
    outputs = int(keys["0"])
    return WeightedLayer(name, weights, outputs * bias, weights * groups // (outputs * kernel))


def stored_precisions(param: str, weights: bytes) -> dict[str, int]:
    """Weighted layers, counted by how their weights are stored: ``fp16`` or ``fp32``.

    Raises `FednasError` if the weights do not go with the network, or are stored in another way.
    """
    found, at = Counter[str](), 0
    for layer in weighted_layers(param):
        tag = int.from_bytes(weights[at : at + _TAG_BYTES], "little")
        if tag not in (HALF_TAG, FLOAT_TAG):
            raise FednasError(f"the weights of ncnn layer {layer.name} are stored neither as fp32 nor as fp16")
        half = tag == HALF_TAG
        found["fp16" if half else "fp32"] += 1
        # Halves are filled up to whole words.
        size = -(-2 * layer.weights // _FLOAT_BYTES) * _FLOAT_BYTES if half else _FLOAT_BYTES * layer.weights
        at += _TAG_BYTES + size + _FLOAT_BYTES * layer.biases
    if at != len(weights):
        raise FednasError(f"the ncnn network wants {at} bytes of weights, its file has {len(weights)}")
    return dict(sorted(found.items()))


def require_stored_as(precision: str, param: str, weights: bytes) -> None:
    """Raise `FednasError` unless the weights of every layer are stored in ``precision``."""
    found = stored_precisions(param, weights)
    if set(found) - {precision}:
        counts = ", ".join(f"{count} in {kind}" for kind, count in found.items())
        raise FednasError(f"ncnn layers have their weights {counts}, not all in {precision}", hint="convert it again")


def require_channels(param: str, channels: int) -> None:
    """Raise `FednasError` unless the network takes images of so many channels.

    ncnn does not check it, and would read beyond its memory. What comes before the first layer with weights leaves
    channels as they are in our networks.
    """
    first = weighted_layers(param)[:1]
    if first and first[0].in_channels != channels:
        raise FednasError(f"the ncnn network takes images of {first[0].in_channels} channels, not of {channels}")
