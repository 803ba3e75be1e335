"""One device's folder: the network, its proof, its readings."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import import_extra
from fednas.export import (
    CalibrationImages,
    Dataset,
    Device,
    Illustrations,
    ModelInput,
    ModelMetadata,
    Recalibration,
    Search,
    Shipment,
    Vectors,
    choose_examples,
    model_file_name,
    onnx_from_module,
    read_card_details,
    write_contents,
)
from fednas.profiles import DeviceProfile, installed_version
from fednas.toolchain.search.request import SearchAnswer
from fednas.toolchain.ship.accuracy_limit import limits_not_shown
from fednas.toolchain.ship.agreement import doubts_about_data
from fednas.toolchain.ship.candidates import COMPARED, Choice
from fednas.toolchain.ship.inputs import ProofInputs, proof_inputs
from fednas.toolchain.ship.near_budget import frontier_near
from fednas.toolchain.ship.precisions import Artefact, all_artefacts, stored_precision
from fednas.toolchain.ship.proving import Proof, Proven, prove
from fednas.toolchain.ship.readings import budget_records, latency_record, outside_of_prediction
from fednas.toolchain.ship.runtimes import require_something_made, runtimes_of
from fednas.toolchain.ship.source import Source
from fednas.toolchain.ship.speed import Speed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fednas.toolchain.ship.job import ShipJob

RECALIBRATION_IMAGES = 2000
"""Training images for the batch-norm statistics of the subnet; all if there are fewer."""
VECTOR_COUNT = 32
"""Test inputs that travel with the model."""

Report = Callable[[float, str], None]
"""Told the step, counted from 0, and what it is."""


def write_device_folder(
    folder: Path,
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    choice: Choice,
    speed: Speed,
    calibration: CalibrationImages | None,
    report: Report,
) -> tuple[str, ...]:
    """Fill the staged ``folder`` for one device; ``report`` is told each step.

    Returns what the images leave doubtful, in sentences that the report has too. Raises `FednasError` if they
    cannot be those that the supernet was made for.
    """
    answer = choice.answer
    report(1, "extracting the subnet")
    module, recalibrated = _subnet(job, source, answer)
    report(2, "exporting to ONNX")
    fp32 = onnx_from_module(
        module, folder / model_file_name("fp32"), opset=profile.onnx_opset, metadata=_metadata(source, answer)
    )
    artefacts = all_artefacts(fp32, job, profile, calibration)
    report(3, "computing the source's logits")
    inputs = proof_inputs(source, job.input_type)
    logits = _logits(module, inputs.network)
    as_trained = job.architecture is None and job.recalibrate
    doubts = doubts_about_data(source, logits, as_trained=as_trained) + _stale_batch_norms(job, source)
    proof = Proof(inputs.file, inputs.labels if source.data else None, logits, job.max_accuracy_drop)
    proven = _all_proven(artefacts, proof, job, source, profile, choice, report)
    models = [each.model for each in proven]
    doubts += limits_not_shown(models)
    judged = next(each for each in proven if each.model.precision == job.judged_precision)
    report(6, "writing the folder")
    shipment = _shipment(job, source, profile, choice, speed, judged, recalibrated)
    write_contents(
        folder,
        shipment,
        models,
        vectors=Vectors(
            inputs=inputs.file[:VECTOR_COUNT], logits=logits[:VECTOR_COUNT], labels=inputs.labels[:VECTOR_COUNT]
        ),
        preprocessing=ModelInput.of(source.preprocessing, job.input_type),
        class_names=source.header.class_names,
        not_verified=[
            *_gaps(source),
            *doubts,
            *speed.doubts,
            *choice.remarks,
            *_uint8_gap(job, profile),
            *outside_of_prediction(shipment.latency),
            *dict.fromkeys(remark for each in proven for remark in each.remarks),
        ],
        card=None if job.card is None else read_card_details(job.card),
        illustrations=_illustrations(job, source, profile, choice, speed, inputs, logits, judged),
    )
    return doubts


def _shipment(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    choice: Choice,
    speed: Speed,
    judged: Proven,
    recalibrated: int,
) -> Shipment:
    answer = choice.answer
    return Shipment(
        device=Device.from_profile(profile),
        architecture=answer.architecture.as_dict(),
        fitness=answer.fitness,
        macs=answer.macs,
        params=answer.params,
        supernet=source.identity,
        search=_search_record(choice),
        budgets=budget_records(
            job.budgets,
            answer,
            speed.model,
            judged.reading,
            judged.size_bytes,
            judged.model.precision,
            engine=judged.model.engine.latency if judged.model.engine else None,
        ),
        latency=latency_record(answer, speed.model, judged.reading),
        dataset=Dataset(name=source.data.name, test_images=len(source.data.test)) if source.data else None,
        recalibration=Recalibration(images=recalibrated),
        precision=job.judged_precision,
        candidates=choice.candidates,
    )


def _all_proven(
    artefacts: Sequence[Artefact],
    proof: Proof,
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    choice: Choice,
    report: Report,
) -> list[Proven]:
    runtimes = runtimes_of(profile, job.runtimes)
    proven = []
    for i, artefact in enumerate(artefacts):
        report(4 + 2 * i / len(artefacts), f"proving and measuring {artefact.precision}")
        read_already = choice.reading if artefact.precision == job.judged_precision else None
        found = prove(
            artefact,
            proof,
            profile,
            source.space,
            reading=read_already,
            seconds=job.profile_seconds,
            runtimes=runtimes,
            options=job.engine,
        )
        proven.append(found)
    if len(job.devices) == 1:
        require_something_made([each.model for each in proven], job.runtimes)
    return proven


def _illustrations(
    job: "ShipJob",
    source: Source,
    profile: DeviceProfile,
    choice: Choice,
    speed: Speed,
    inputs: ProofInputs,
    logits: "NDArray[np.float32]",
    judged: Proven,
) -> Illustrations:
    names = source.header.class_names
    stored = stored_precision(job.judged_precision, profile)
    examples = inputs.scaled is not None and choose_examples(inputs.scaled, inputs.labels, logits, judged.logits, names)
    frontier = frontier_near(source.space, job.budgets, speed.model, choice.answer, stored, choice.candidates)
    return Illustrations(frontier=frontier, examples=examples or ())


def _subnet(job: "ShipJob", source: Source, answer: SearchAnswer) -> tuple["nn.Module", int]:
    """The extracted subnet in evaluation mode, and the images its batch norms were recalibrated on."""
    import_extra("torch", "torch", "extracting a subnet")
    from fednas.toolchain.supernet import extract_subnet, recalibrate_batch_norm

    module = extract_subnet(source.loaded.supernet, answer.architecture).eval()
    if not job.recalibrate or source.data is None:
        return module, 0
    images = source.data.preprocessing.apply(source.data.train.images)
    return module, recalibrate_batch_norm(module, images, RECALIBRATION_IMAGES).samples


def _stale_batch_norms(job: "ShipJob", source: Source) -> tuple[str, ...]:
    """That nothing shows what the supernet's own statistics do to this subnet; with data its accuracy does."""
    if source.data is not None or source.space.normalization == "none":
        return ()
    advice = "give --data" if job.recalibrate else "give --data and leave out --no-recalibrate"
    return (
        "Batch norms: they are as the supernet has them, not recalibrated for this subnet, so its predictions may be "
        f"useless; {advice}",
    )


def _metadata(source: Source, answer: SearchAnswer) -> ModelMetadata:
    return ModelMetadata(
        preprocessing=ModelInput.of(source.preprocessing),
        class_names=source.header.class_names,
        architecture=dict(answer.architecture.as_dict()),
        tool_version=installed_version("fednas-export") or "unknown",
    )


def _logits(module: "nn.Module", inputs: "NDArray[np.float32]", batch_size: int = 256) -> "NDArray[np.float32]":
    import numpy as np
    import torch

    with torch.inference_mode():
        parts = [
            module(torch.from_numpy(inputs[i : i + batch_size])).numpy() for i in range(0, len(inputs), batch_size)
        ]
    return np.concatenate(parts)


def _search_record(choice: Choice) -> Search | None:
    answer = choice.answer
    if answer.status == "given":
        return None
    if choice.reading is not None:
        # What was proven by prediction says nothing about the network that measured best.
        return Search(method=COMPARED, status="feasible", upper_bound=None, gap=None)
    return Search(method="exact", status=answer.status, upper_bound=answer.upper_bound, gap=answer.gap)


def _uint8_gap(job: "ShipJob", profile: DeviceProfile) -> tuple[str, ...]:
    if job.input_type == "float32" or profile.tensorrt is None:
        return ()
    return ("uint8 inputs: TensorRT takes them from 8.5 on by its documents; that was never run.",)


def _gaps(source: Source) -> list[str]:
    if source.preprocessing_known:
        return []
    return ["Preprocessing: the supernet does not say how images are prepared; preprocessing.json is a guess."]
