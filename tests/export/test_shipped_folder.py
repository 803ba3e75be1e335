"""The folder: staged beside its place, published in one step, refused when it is not what it claims."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from small_network import DIGITS, METADATA, Ship, make_shipment

from fednas.common import ContractError, FednasError
from fednas.export import (
    Budget,
    Manifest,
    MeasuredLatency,
    ModelInput,
    Report,
    Vectors,
    random_inputs,
    read_manifest,
    staged_folder,
    unlabelled,
    write_contents,
)
from fednas.export.folder import COPY_AGAIN
from fednas.export.report import report_markdown
from fednas.export.shipping import labels_text
from fednas.export.test_vectors import read_vectors, write_vectors


def edit(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


class TestContents:
    def test_everything_is_there_and_listed(self, shipped: Path) -> None:
        manifest = read_manifest(shipped)
        names = {"labels.txt", "model.fp32.onnx", "preprocessing.json", "test_vectors.npz"}
        names |= {"report.html", "report.json", "report.md", "MODEL_CARD.md", "test_inputs.bin", "test_logits.bin"}
        names |= {"example.py", "example.cpp", "CMakeLists.txt"}
        assert {path.name for path in shipped.iterdir()} == names | {"manifest.json"}
        assert {file.name for file in manifest.files} == names
        for file in manifest.files:
            content = (shipped / file.name).read_bytes()
            assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())

    def test_the_manifest_says_what_was_proven(self, shipped: Path) -> None:
        manifest = read_manifest(shipped)
        assert (manifest.schema, manifest.status, manifest.reasons) == (1, "verified", ())
        evidence = manifest.models[0].evidence
        assert evidence.parity.images == 397
        assert evidence.source_accuracy is not None
        assert evidence.source_accuracy == evidence.artefact_accuracy
        assert evidence.source_accuracy.share > 0.8
        assert manifest.test_vectors == msgspec.structs.replace(manifest.test_vectors, count=16, inputs="real")

    def test_the_manifest_survives_a_round_trip(self, shipped: Path) -> None:
        manifest = read_manifest(shipped)
        assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest

    def test_preprocessing_labels_and_report_can_be_read_back(self, shipped: Path) -> None:
        assert msgspec.json.decode((shipped / "preprocessing.json").read_bytes(), type=ModelInput) == DIGITS
        assert (shipped / "labels.txt").read_text().splitlines() == list(METADATA.class_names)
        report = msgspec.json.decode((shipped / "report.json").read_bytes(), type=Report)
        assert report.shipment == read_manifest(shipped).shipment

    def test_same_inputs_give_the_same_bytes(self, ship: Ship, shipped: Path, tmp_path: Path) -> None:
        again = ship(tmp_path / "again")
        assert (shipped / "report.html").stat().st_size > 5000
        for path in shipped.iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name

    def test_the_date_stands_only_in_the_manifest(self, shipped: Path) -> None:
        manifest = read_manifest(shipped)
        assert manifest.build.created not in (shipped / "report.md").read_text()
        assert manifest.build.created not in (shipped / "report.json").read_text()

    def test_logits_out_of_tolerance_are_marked_rejected(self, ship: Ship, tmp_path: Path) -> None:
        manifest = read_manifest(ship(tmp_path / "board", wrong_by=0.5))
        assert manifest.status == "rejected"
        assert "model.fp32.onnx: logits differ by up to" in manifest.reasons[0]

    def test_without_data_nothing_is_called_verified(self, ship: Ship, tmp_path: Path) -> None:
        folder = ship(tmp_path / "board", real=False)
        manifest = read_manifest(folder)
        assert manifest.status == "unverified"
        assert manifest.test_vectors.inputs == "random"
        assert manifest.models[0].evidence.artefact_accuracy is None
        text = (folder / "report.md").read_text()
        assert "Accuracy: no data was given. Parity was checked on random inputs only." in text
        assert "not checked" in text

    def test_a_tensorrt_device_gets_the_build_script(self, ship: Ship, tmp_path: Path) -> None:
        folder = ship(tmp_path / "board", "tensorrt")
        assert os.access(folder / "board_check.py", os.X_OK)
        assert "python3 board_check.py" in (folder / "report.md").read_text()
        assert "was only ever run against stand-ins" in (folder / "report.md").read_text()

    @pytest.mark.parametrize("name", ["", "two\nlines", "carriage\rreturn"])
    def test_class_names_that_would_break_the_file(self, name: str) -> None:
        with pytest.raises(FednasError, match="is empty or has a line break"):
            labels_text(["cat", name])

    def test_vectors_must_match_the_shipment(self, shipped: Path) -> None:
        vectors = Vectors(
            inputs=random_inputs((1, 8, 8), 2), logits=np.zeros((2, 10), np.float32), labels=unlabelled(2)
        )
        models = read_manifest(shipped).models
        with pytest.raises(ContractError, match="real exactly when there is a data set"):
            write_contents(
                shipped,
                make_shipment(),
                models,
                vectors=vectors,
                preprocessing=DIGITS,
                class_names=METADATA.class_names,
            )


class TestReportText:
    def markdown(self, shipped: Path, **change: Any) -> str:
        report = msgspec.json.decode((shipped / "report.json").read_bytes(), type=Report)
        shipment = msgspec.structs.replace(report.shipment, **change)
        return report_markdown(msgspec.structs.replace(report, shipment=shipment), (), DIGITS)

    def test_it_says_what_rests_on_an_estimate(self, shipped: Path) -> None:
        text = self.markdown(shipped)
        basis = "90% interval of public measurements of other devices; estimate of board"
        assert f"| ESTIMATE, never measured | 2 ms | 1 ms to 4 ms | {basis} |" in text
        assert "Predicted latency on A board: an estimate from datasheets, not from measurements." in text
        assert "A board itself: the file was run on the machine that exported it, not there." in text
        assert "not measured, because the board is not this machine" in text
        assert "No architecture of the search space within the budgets has a higher fitness (exact, proven)" in text

    def test_a_measurement_names_its_machine(self, shipped: Path) -> None:
        measured = MeasuredLatency(
            median_ms=0.5,
            low_ms=0.4,
            high_ms=0.7,
            p10_ms=0.4,
            p90_ms=0.8,
            runs=100,
            threads=1,
            runtime="onnxruntime 1.2",
            machine="m1",
        )
        latency = msgspec.structs.replace(make_shipment().latency, measured=measured, not_measured_because="")
        text = self.markdown(shipped, latency=latency)
        assert "| measured on the exporting machine | 0.5 ms | 0.4 ms to 0.7 ms |" in text
        assert "95% interval of the median of 100 runs (10% to 90% of them: 0.4 ms to 0.8 ms)" in text

    def test_budgets_come_with_their_verdicts(self, shipped: Path) -> None:
        budgets = (
            Budget(
                quantity="latency", unit="ms", limit=5, value=2, low=1, high=6, basis="estimated", verdict="cannot tell"
            ),
            Budget(quantity="size", unit="bytes", limit=3e6, value=4e6, basis="exact", verdict="missed"),
            Budget(quantity="macs", unit="", limit=500000, value=None, basis="exact", verdict="met"),
        )
        text = self.markdown(shipped, budgets=budgets)
        assert "| cannot tell | latency | 5 ms | 2 ms (1 ms to 6 ms) | estimated |" in text
        assert "| missed | size | 3 MB | 4 MB | exact |" in text
        assert "| met | macs | 500,000 | unknown | exact |" in text

    def test_a_given_architecture_was_not_searched(self, shipped: Path) -> None:
        assert "was given by the user; nothing was searched" in self.markdown(shipped, search=None)

    def test_it_says_how_to_run_the_examples(self, shipped: Path) -> None:
        text = (shipped / "report.md").read_text()
        assert (
            "python example.py image.npy     # classifies a raw image: (height, width, channels), pixels 0 to 16"
            in text
        )
        assert "cmake -B build -DONNXRUNTIME_ROOT=/path/to/onnxruntime && cmake --build build" in text

    def test_a_latency_is_measured_or_says_why_not(self) -> None:
        with pytest.raises(ContractError, match="either measured or says why not"):
            msgspec.structs.replace(make_shipment().latency, not_measured_because="")


class TestStaging:
    def finish(self, staging: Path, text: str = "new") -> None:
        (staging / "manifest.json").write_text(text)

    def test_nothing_shows_before_the_end(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "board"
        with staged_folder(target) as staging:
            assert staging.parent == target.parent
            assert not target.exists()
            self.finish(staging)
        assert [path.name for path in target.parent.iterdir()] == ["board"]

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, FednasError("no"), SystemExit])
    def test_an_interruption_leaves_nothing(self, tmp_path: Path, interruption: Any) -> None:
        def interrupted() -> None:
            with staged_folder(tmp_path / "a" / "b" / "board") as staging:
                (staging / "half").write_text("written")
                raise interruption

        with pytest.raises(interruption if isinstance(interruption, type) else FednasError):
            interrupted()
        assert not list(tmp_path.iterdir())

    def test_an_interruption_leaves_the_old_folder(self, shipped: Path) -> None:
        before = {path.name: path.read_bytes() for path in shipped.iterdir()}

        def interrupted() -> None:
            with staged_folder(shipped) as staging:
                self.finish(staging)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before
        assert list(shipped.parent.iterdir()) == [shipped]

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_args: object, **_options: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        vectors = Vectors(
            inputs=random_inputs((1, 8, 8), 2), logits=np.zeros((2, 10), np.float32), labels=unlabelled(2)
        )

        def fill() -> None:
            with staged_folder(tmp_path / "out" / "board") as staging:
                monkeypatch.setattr(Path, "write_bytes", full)
                write_vectors(vectors, staging / "test_vectors.npz")

        with pytest.raises(FednasError, match="disk full while writing"):
            fill()
        assert not list(tmp_path.iterdir())

    def test_a_failed_last_step_brings_the_old_folder_back(
        self, shipped: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def failing(self: Path, target: Path) -> Path:
            if self.name.endswith(".tmp"):
                raise PermissionError(errno.EACCES, "no")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", failing)
        with pytest.raises(FednasError, match="is not writable"), staged_folder(shipped) as staging:
            self.finish(staging)
        assert read_manifest(shipped).status == "verified"
        assert list(shipped.parent.iterdir()) == [shipped]

    def test_our_own_folder_is_replaced_with_what_the_board_made_of_it(self, shipped: Path) -> None:
        for name in ("model.fp32.plan", "model.fp32.bench.log", "model.fp32.times.json", "timing-10.3.cache"):
            (shipped / name).write_text("from the board")
        with staged_folder(shipped) as staging:
            self.finish(staging)
        assert [path.name for path in shipped.iterdir()] == ["manifest.json"]
        assert list(shipped.parent.iterdir()) == [shipped]

    def test_an_empty_folder_is_used(self, tmp_path: Path) -> None:
        (tmp_path / "board").mkdir()
        with staged_folder(tmp_path / "board") as staging:
            self.finish(staging)
        assert (tmp_path / "board" / "manifest.json").read_text() == "new"

    def test_files_of_the_user_are_never_overwritten(self, shipped: Path) -> None:
        (shipped / "notes.txt").write_text("mine")
        with pytest.raises(FednasError, match=r"holds notes\.txt, which fednas-export did not write"):
            staged_folder(shipped).__enter__()

    @pytest.mark.parametrize("manifest", [None, "{}", '{"schema": 1}', '{"schema": 2}'])
    def test_a_folder_that_is_not_ours_is_refused(self, tmp_path: Path, manifest: str | None) -> None:
        (tmp_path / "thesis.tex").write_text("")
        if manifest is not None:
            (tmp_path / "manifest.json").write_text(manifest)
        with pytest.raises(FednasError, match="holds something else and is never overwritten"):
            staged_folder(tmp_path).__enter__()

    def test_a_file_or_a_link_is_refused(self, tmp_path: Path, shipped: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to(shipped)
        for name in ("file", "link"):
            with pytest.raises(FednasError, match="is a file or a link; choose another --out"):
                staged_folder(tmp_path / name).__enter__()
        with pytest.raises(FednasError, match="a file stands where a folder is needed"):
            staged_folder(tmp_path / "file" / "board").__enter__()

    def test_without_a_manifest_nothing_is_published(self, tmp_path: Path) -> None:
        with pytest.raises(ContractError, match="without a manifest"), staged_folder(tmp_path / "board"):
            pass
        assert not list(tmp_path.iterdir())


class TestReadingTheManifest:
    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"schema": 2}, "has schema 2, this version reads 1; use the version that wrote it"),
            ({"schema": "1"}, r"Expected int, got str \(key schema\)"),
            ({"color": 1}, "unknown key 'color'"),
            ({"status": "fine"}, "key status is 'fine'; it must be one of verified, rejected, unverified"),
            ({"models": []}, "names no model"),
            ({"files": []}, r"names 'model\.fp32\.onnx', but does not list it"),
        ],
    )
    def test_strict(self, shipped: Path, change: dict[str, Any], complaint: str) -> None:
        edit(shipped, change)
        with pytest.raises(FednasError, match=complaint) as caught:
            read_manifest(shipped)
        # Whoever receives a folder did not write its manifest.
        assert caught.value.hint in (COPY_AGAIN, "use the version that wrote it")

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "/etc/passwd", "sub/file", "..", ".hidden", "", "a\nb", "manifest.json"]
    )
    def test_files_must_lie_in_the_folder(self, shipped: Path, name: str) -> None:
        edit(shipped, {"files": [{"name": name, "sha256": "", "size_bytes": 0}]})
        with pytest.raises(FednasError, match="only plain names inside the folder are allowed"):
            read_manifest(shipped)

    def test_a_file_listed_twice(self, shipped: Path) -> None:
        files = json.loads((shipped / "manifest.json").read_text())["files"]
        edit(shipped, {"files": [*files, files[0]]})
        with pytest.raises(FednasError, match="lists a file twice"):
            read_manifest(shipped)

    def test_a_manifest_that_is_too_large(self, shipped: Path) -> None:
        with (shipped / "manifest.json").open("ab") as stream:
            stream.truncate(17 * 2**20)
        with pytest.raises(FednasError, match="is larger than 16777216 bytes"):
            read_manifest(shipped)

    def test_no_folder_and_no_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(FednasError, match="gone is not a folder"):
            read_manifest(tmp_path / "gone")
        with pytest.raises(FednasError, match=r"holds no manifest\.json, so it was not written by fednas-export"):
            read_manifest(tmp_path)


class TestVectorFile:
    def test_round_trip_and_same_bytes(self, tmp_path: Path) -> None:
        vectors = Vectors(inputs=random_inputs((1, 2, 2), 3), logits=np.ones((3, 4), np.float32), labels=unlabelled(3))
        for name in ("a.npz", "b.npz"):
            write_vectors(vectors, tmp_path / name)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        again = read_vectors(tmp_path / "a.npz")
        np.testing.assert_array_equal(again.inputs, vectors.inputs)
        assert not again.real

    @pytest.mark.parametrize(
        "arrays",
        [
            pytest.param({"inputs": np.array([{}], dtype=object)}, id="pickle"),
            pytest.param({"inputs": np.zeros((1, 1, 2, 2), np.float32)}, id="missing"),
            pytest.param(
                {
                    "inputs": np.zeros((1, 1, 2, 2)),
                    "logits": np.zeros((1, 2), np.float32),
                    "labels": np.zeros(1, np.int64),
                },
                id="type",
            ),
            pytest.param(
                {
                    "inputs": np.zeros((1, 1, 2, 2), np.float32),
                    "logits": np.zeros((2, 2), np.float32),
                    "labels": np.zeros(1, np.int64),
                },
                id="length",
            ),
        ],
    )
    def test_strange_files(self, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(FednasError, match=r"test vectors .* (cannot be read|hold)"):
            read_vectors(tmp_path / "bad.npz")

    def test_no_archive(self, tmp_path: Path) -> None:
        (tmp_path / "bad.npz").write_bytes(b"PK no")
        with pytest.raises(FednasError, match="cannot be read"):
            read_vectors(tmp_path / "bad.npz")
