"""``job.json`` of a kit: what is to be measured, with a digest over everything that the kit holds."""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fednas.common import FednasError, PlainText
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.plan import Plan
from fednas.toolchain.space import SearchSpace

SCHEMA = 1
MEASURE_ANEW = "write the kit anew and measure again, or import with the version that wrote it"
LONGEST_TEXT = 300
LARGEST_SHAPE = 10**15
"""Multiply-accumulates or weights of one block beyond which a file is not believed."""

# No control characters: texts of a kit are printed on terminals and stand in tables.
Text = Annotated[PlainText, Meta(max_length=LONGEST_TEXT)]
Name = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*\Z",
        description="a name of small letters and digits with single dots and dashes between them",
        examples=["jetson-orin-nano"],
    ),
]
"""Names files, so it can be no path."""
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="a SHA-256 digest: 64 of 0-9 and a-f")]
AtLeastOne = Annotated[int, Meta(ge=1, le=10**12)]
Count = Annotated[int, Meta(ge=0, le=10**15)]


class KitModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model file; its place in the list is its name: ``models/0003.onnx`` is the fourth."""

    sha256: Sha256
    size_bytes: AtLeastOne
    shape: tuple[AtLeastOne, ...]
    """Of the input, batch first."""
    weights: Count
    macs: Count
    """For one image."""


class KitDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``job.json``."""

    schema: int
    kit: Sha256
    """Digest of all other keys, and so of the models and the script, whose digests they hold."""
    tool_version: Text
    device: Name
    runtime: Name
    precision: Name
    threads: AtLeastOne
    batch: AtLeastOne
    seconds: Annotated[float, Meta(gt=0, le=1e7)]
    seed: Count
    least_rounds: AtLeastOne
    group_weights: AtLeastOne
    """Weights that are loaded at one time, unless the board has less memory."""
    plan: Plan
    space: SearchSpace | None
    """What the plan was made of."""
    candidates: tuple[Count, ...]
    """Place of each candidate's model, in the order of the plan's candidates."""
    models: tuple[KitModel, ...]
    script_sha256: Sha256

    def job(self) -> MeasuringJob:
        """The job as it was when the kit was written."""
        return MeasuringJob(
            device=self.device,
            plan=self.plan,
            runtime=self.runtime,
            precision=self.precision,
            threads=self.threads,
            batch=self.batch,
            seconds=self.seconds,
            seed=self.seed,
            space=self.space,
        )


def model_name(place: int) -> str:
    """File of a model inside the kit."""
    return f"models/{place:04d}.onnx"


def digest_of(document: dict[str, Any], *, without: str) -> str:
    """SHA-256 of a JSON document in one fixed form, one key left out: the key that holds this digest."""
    rest = {key: value for key, value in document.items() if key != without}
    form = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(form.encode("ascii")).hexdigest()


def _lacking(known: object, raw: object) -> Iterator[str]:
    """Keys that this version writes and ``raw`` has not got, at any depth."""
    if isinstance(known, dict) and isinstance(raw, dict):
        yield from (name for name in known if name not in raw)
        for name in known:
            yield from _lacking(known[name], raw.get(name))
    elif isinstance(known, list) and isinstance(raw, list):
        for one, other in zip(known, raw, strict=False):
            yield from _lacking(one, other)


def check_document(document: KitDocument, raw: dict[str, Any], what: str) -> None:
    """Raise `FednasError` unless the document, ``raw`` as it was read, is one that `write_kit` could have written."""
    if digest_of(raw, without="kit") != document.kit:
        raise FednasError(f"{what} was edited or damaged: its content does not have the digest that it claims")
    plan = document.plan
    # A dataclass, unlike a structure, takes unknown keys in silence.
    for key, value in (("plan", plan), ("space", document.space)):
        known = msgspec.json.decode(msgspec.json.encode(value))
        if known == raw[key]:
            continue
        if lacking := list(dict.fromkeys(_lacking(known, raw[key]))):
            raise FednasError(
                f"{what} was written by an earlier version: its {key} does not say {' or '.join(lacking[:3])}",
                hint=MEASURE_ANEW,
            )
        raise FednasError(f"{what}: its {key} has keys that this version does not know", hint="write the kit anew")
    specs = {spec for candidate in plan.candidates for spec in candidate} | set(plan.priced)
    if any(max(spec.macs, spec.weights) > LARGEST_SHAPE for spec in specs):
        raise FednasError(f"{what} holds a block of an impossible size")
    if len(document.candidates) != len(plan.candidates):
        message = f"{what} has {len(document.candidates)} candidates, its plan {len(plan.candidates)}"
        raise FednasError(message, hint="write the kit anew")
    if sorted(set(document.candidates)) != list(range(len(document.models))):
        raise FednasError(f"{what}: its candidates do not name its {len(document.models)} models, each at least once")
