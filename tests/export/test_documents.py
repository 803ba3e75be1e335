"""Model card and plain vectors: what they say, and that `verify` finds them lying."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from small_network import DIGITS

from fednas.common import FednasError, load_json
from fednas.export import CardDetails, Report, read_card_details, verify_folder
from fednas.export.model_card import card_text


def relist(folder: Path, name: str) -> None:
    """Make the manifest list the file as it is now, as a careful forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / name).read_bytes()
    for file in manifest["files"]:
        if file["name"] == name:
            file |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def documents_check(folder: Path) -> tuple[bool, str]:
    check = next(check for check in verify_folder(folder).checks if check.name == "documents")
    return check.passed, check.detail


def test_plain_vectors_are_the_numbers_of_the_archive(shipped: Path) -> None:
    vectors = np.load(shipped / "test_vectors.npz")
    inputs = np.fromfile(shipped / "test_inputs.bin", "<f4").reshape(16, 1, 8, 8)
    assert (inputs == vectors["inputs"]).all()
    assert (np.fromfile(shipped / "test_logits.bin", "<f4").reshape(16, 10) == vectors["logits"]).all()
    assert documents_check(shipped) == (True, "report and test vectors agree")


def test_other_plain_vectors_are_found(shipped: Path) -> None:
    data = bytearray((shipped / "test_logits.bin").read_bytes())
    data[0] ^= 1
    (shipped / "test_logits.bin").write_bytes(bytes(data))
    relist(shipped, "test_logits.bin")
    assert documents_check(shipped) == (False, "test_logits.bin says something else than test_vectors.npz")


def test_a_report_that_says_more_is_found(shipped: Path) -> None:
    report = json.loads((shipped / "report.json").read_text())
    report["shipment"]["macs"] = 1
    (shipped / "report.json").write_text(json.dumps(report))
    relist(shipped, "report.json")
    assert documents_check(shipped) == (False, "report.json says something else than manifest.json")


def test_the_card_says_what_is_known_and_what_only_the_owner_knows(shipped: Path) -> None:
    text = (shipped / "MODEL_CARD.md").read_text()
    assert "**10 classes, 8 x 8 grey images, 123,456 MACs, 7,890 parameters.**" in text
    assert "397 held-out images of digits" in text
    assert "| Licence of the weights | not stated by whoever exported it |" in text
    assert "Latency on A board when it was exported: 2 ms (1 ms to 4 ms), an estimate, never measured." in text
    assert "Not verified: A board itself: the file was run on the machine that exported it, not there." in text
    report = load_json(shipped / "report.json", Report, "report")
    stated = card_text(CardDetails(name="Gate", license="mit", limits="Daylight only."), report, DIGITS)
    assert stated.startswith("# Gate\n")
    assert "| Licence of the weights | mit |" in stated
    assert "- Daylight only." in stated


def test_card_details_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text('license = "mit"\nintended_use = "sorting"\n')
    assert read_card_details(path) == CardDetails(license="mit", intended_use="sorting")
    path.write_text('licence = "mit"\n')
    with pytest.raises(FednasError, match=r"unknown key 'licence'.*license"):
        read_card_details(path)
    path.write_text('limits = "one\\ntwo"\n')
    with pytest.raises(FednasError, match="limits has more than one line"):
        read_card_details(path)
