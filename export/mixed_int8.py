"""Mixed int8: which layers stay in float so that a quantised network loses no more accuracy than allowed.

The choice is made on validation images, never on the images that prove the file.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from fednas.export.calibration import HeldOutImages
from fednas.export.evidence import compare_logits, tolerance_for
from fednas.export.paired_drop import PairedDrop, paired_drop
from fednas.export.precision_int8 import Int8Graph
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

SENSITIVITY_IMAGES = 128
"""For each layer the whole network runs on so many images."""
METHOD = (
    "root mean square error of the logits, as a share of their largest, with only this layer in int8; layers are kept "
    "in that order until the validation images lose no more than allowed, then given back where they can"
)
_BATCH = 64


class LayerSensitivity(Record, frozen=True, kw_only=True):
    """What one layer alone costs in int8."""

    name: str
    operator: str
    error: float
    """RMS error of the logits as a share of the largest, everything else in float."""


class Int8Trial(Record, frozen=True, kw_only=True):
    """One choice of layers that was tried."""

    kept: int
    """Layers left in float."""
    drop: PairedDrop
    max_relative_error: float | None
    top1_agreement: float
    passed: bool


class MixedInt8(Record, frozen=True, kw_only=True):
    """Why some layers of an int8 file stayed in float, or why none did although plain int8 does not suffice."""

    method: str
    images: int
    """Validation images on which the choice was made."""
    seed: int
    """Of the choice of these images."""
    sensitivity: tuple[LayerSensitivity, ...]
    """Every convolution and matrix product, the most sensitive first."""
    trials: tuple[Int8Trial, ...]
    """In the order in which they were tried; the first keeps none."""
    kept: tuple[str, ...]
    """Empty: no choice met the limit, so the file is plain int8."""
    kept_in: Literal["fp32"] = "fp32"
    """The higher precision of these; never fp16."""

    @property
    def why_not_plain(self) -> str:
        """Why the first trial, which keeps no layer, was not enough."""
        drop = self.trials[0].drop
        if drop.limit is None or drop.drop > drop.limit:
            return "it lost more than allowed"
        if drop.verdict == "met" or drop.too_few_images:
            # Where so few images could not prove even a perfect file, the loss itself is judged: it is small enough.
            return "its logits left the tolerance"
        return f"they cannot rule out that it loses more than {100 * drop.limit:g} points"


def choose_float_layers(graph: Int8Graph, images: HeldOutImages, max_accuracy_drop: float) -> MixedInt8 | None:
    """Fewest layers to leave in float so that ``images`` lose no more accuracy than ``max_accuracy_drop``.

    The order is that of the layers' own sensitivity; the smallest number of them that suffices is found by doubling
    and halving (so greedy, not proven smallest), then every kept layer that turns out not to be needed is given back.

    Returns:
        None if plain int8 loses no more than allowed.
    """
    search = _Search(graph, images, max_accuracy_drop)
    if search.try_keeping(()).passed:
        return None
    table = sensitivity_table(graph, images.inputs[:SENSITIVITY_IMAGES])
    order = [layer.name for layer in table]
    kept = search.given_back(search.shortest_prefix(order))
    return MixedInt8(
        method=METHOD,
        images=len(images.inputs),
        seed=images.seed,
        sensitivity=table,
        trials=tuple(search.trials),
        kept=tuple(kept),
    )


def sensitivity_table(graph: Int8Graph, inputs: "NDArray[np.float32]") -> tuple[LayerSensitivity, ...]:
    """What every layer costs on its own, the most sensitive first; ``inputs`` (n, channels, height, width)."""
    import numpy as np

    names = [name for name, _ in graph.layers]
    everything = logits_of(graph.model(names), inputs)
    scale = float(np.abs(everything).max()) or 1.0
    rows = []
    for name, operator in graph.layers:
        alone = logits_of(graph.model([other for other in names if other != name]), inputs)
        error = float(np.sqrt(np.mean(np.square(alone - everything)))) / scale
        rows.append(LayerSensitivity(name=name, operator=operator, error=error))
    return tuple(sorted(rows, key=lambda row: (-row.error, row.name)))


def logits_of(model: "onnx.ModelProto", inputs: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Logits (n, classes) of a model in memory under ONNX Runtime, one thread."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    starts = range(0, len(inputs), _BATCH)
    return np.concatenate([session.run(None, {feed: inputs[start : start + _BATCH]})[0] for start in starts])


class _Search:
    def __init__(self, graph: Int8Graph, images: HeldOutImages, max_accuracy_drop: float) -> None:
        self._graph = graph
        self._images = images
        self._limit = max_accuracy_drop
        self._source = logits_of(graph.source, images.inputs)
        self._known: dict[frozenset[str], Int8Trial] = {}
        self.trials: list[Int8Trial] = []

    def try_keeping(self, names: Collection[str]) -> Int8Trial:
        """The network with these layers in float, held against the source on the images."""
        wanted = frozenset(names)
        if wanted not in self._known:
            logits = logits_of(self._graph.model(wanted), self._images.inputs)
            drop = paired_drop(self._source, logits, self._images.labels, self._limit)
            parity = compare_logits(self._source, logits, tolerance_for("int8"))
            trial = Int8Trial(
                kept=len(wanted),
                drop=drop,
                max_relative_error=parity.max_relative_error,
                top1_agreement=parity.top1_agreement,
                passed=parity.passed and self._within(drop),
            )
            self._known[wanted] = trial
            self.trials.append(trial)
        return self._known[wanted]

    def shortest_prefix(self, order: Sequence[str]) -> list[str]:
        """Fewest first layers of ``order`` that suffice; empty if all but one of them do not."""
        most, few, enough = len(order) - 1, 0, 1
        while enough < most and not self.try_keeping(order[:enough]).passed:
            few, enough = enough, min(2 * enough, most)
        if most < 1 or not self.try_keeping(order[:enough]).passed:
            return []
        while enough - few > 1:
            middle = (few + enough) // 2
            if self.try_keeping(order[:middle]).passed:
                enough = middle
            else:
                few = middle
        return list(order[:enough])

    def given_back(self, kept: list[str]) -> list[str]:
        """Without those that are not needed, the least sensitive tried first."""
        for name in reversed(kept[:-1]):
            fewer = [other for other in kept if other != name]
            if self.try_keeping(fewer).passed:
                kept = fewer
        return kept

    def _within(self, drop: PairedDrop) -> bool:
        """As the proof will judge; by the drop itself where so few images could not prove even a perfect file."""
        perfect = paired_drop(self._source, self._source, self._images.labels, self._limit)
        return drop.verdict == "met" if perfect.verdict == "met" else drop.drop <= self._limit
