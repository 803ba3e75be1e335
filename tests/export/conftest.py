"""A small trained network on real images, a folder that ships it, and a board that it was carried to."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from board_folder import Board
from small_network import BUILD, DIGITS, METADATA, Ship, SmallNetwork, Trained, make_shipment
from torch import nn

from fednas.export import (
    Model,
    OrtRunner,
    Vectors,
    onnx_from_module,
    staged_folder,
    tolerance_for,
    verify_artefact,
    write_contents,
)


@pytest.fixture(scope="session")
def trained() -> Trained:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = DIGITS.apply(digits.images[:, None])
    labels = digits.target.astype(np.int64)
    torch.manual_seed(0)
    network = SmallNetwork()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for start in [*range(0, 1400, 50)] * 8:
        loss = nn.functional.cross_entropy(
            network(torch.from_numpy(images[start : start + 50])), torch.from_numpy(labels[start : start + 50])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(images[1400:])).numpy()
    return Trained(network, images[1400:], labels[1400:], logits)


@pytest.fixture(scope="session")
def ship(trained: Trained) -> Ship:
    """Writes a shipped folder to the path it is given."""

    def write(
        target: Path, runtime: str = "onnxruntime", *, opset: int = 17, wrong_by: float = 0.0, real: bool = True
    ) -> Path:
        source_logits = trained.logits + np.float32(wrong_by)
        with staged_folder(target) as staging:
            onnx_file = onnx_from_module(trained.network, staging / "model.fp32.onnx", opset=opset, metadata=METADATA)
            with OrtRunner(onnx_file.path) as runner:
                evidence = verify_artefact(
                    runner,
                    trained.images,
                    source_logits,
                    tolerance=tolerance_for("fp32"),
                    labels=trained.labels if real else None,
                )
            write_contents(
                staging,
                make_shipment(runtime, real=real, opset=opset),
                [Model.from_onnx(onnx_file, "fp32", evidence)],
                vectors=Vectors(
                    inputs=trained.images[:16],
                    logits=source_logits[:16],
                    labels=trained.labels[:16] if real else np.full(16, -1),
                ),
                preprocessing=DIGITS,
                class_names=METADATA.class_names,
                build=BUILD,
            )
        return target

    return write


@pytest.fixture(scope="session")
def shipped_once(ship: Ship, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship(tmp_path_factory.mktemp("shipped") / "board")


@pytest.fixture
def shipped(shipped_once: Path, tmp_path: Path) -> Path:
    """A verified folder of one's own to tamper with."""
    return Path(shutil.copytree(shipped_once, tmp_path / "board"))


@pytest.fixture(scope="session")
def kit_once(ship: Ship, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship(tmp_path_factory.mktemp("kit") / "a folder", "tensorrt", opset=13)


@pytest.fixture
def board(kit_once: Path, trained: Trained, tmp_path: Path) -> Board:
    folder = Path(shutil.copytree(kit_once, tmp_path / "a folder"))
    (tmp_path / "tools").mkdir()
    logits = {trained.images[i].tobytes().hex(): trained.logits[i].tolist() for i in range(16)}
    return Board(folder, tmp_path / "tools", logits)
