"""The board's one script where something is wrong: engines, settings, files, memory, or nothing to build with."""

import errno
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from board_folder import Board
from board_stand_in import calls, install, layers

from fednas.export import read_manifest
from fednas.export.board import check
from fednas.export.folder import foreign_files


def test_an_engine_that_disagrees(board: Board) -> None:
    install(board.tools, "v100300", board.logits, wrong_by=3.0)
    done = board.run()
    assert done.returncode == 4
    assert "DISAGREES with the network" in done.stdout
    assert board.result()["engines"][0]["passed"] is False


def test_logits_that_are_not_finite_are_null(board: Board) -> None:
    broken = {image: [float("nan"), float("-inf"), *row[2:]] for image, row in board.logits.items()}
    install(board.tools, "v100300", broken)
    assert board.run().returncode == 4
    engine = board.result()["engines"][0]
    assert engine["logits"][0][:2] == [None, None]
    assert engine["max_relative_error"] is None


def test_an_engine_silently_built_in_another_precision(board: Board) -> None:
    install(board.tools, "v100300", board.logits, layers=layers("fp16", "fp16"))
    done = board.run()
    assert done.returncode == 4
    assert "NOT AS ASKED: layer conv0 runs in fp16, not fp32" in done.stderr
    assert "layers of the engine: 2 fp16" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--precision", "fp16"], "--precision names 'fp16'; this folder holds: fp32"),
        (["--trtexec", "/nowhere"], "--trtexec is '/nowhere', which is no program"),
        (["--tensorrt-version", "10"], "TensorRT version '10' is not understood; write it like 10.3"),
        (["--tensorrt-version", "8.0"], "TensorRT 8.0 is too old; this script knows 8.2 and later"),
        (["--batch", "0"], "batch 0, 10 seconds or level 3 is out of range"),
        (["--level", "6"], "level 6 is out of range"),
    ],
)
def test_bad_settings(board: Board, arguments: list[str], complaint: str) -> None:
    install(board.tools, "v100300", board.logits)
    done = board.run(*arguments)
    assert done.returncode == (5 if "too old" in complaint else 1)
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert calls(board.tools) == []


def test_nothing_here(board: Board) -> None:
    if Path("/usr/src/tensorrt/bin/trtexec").exists():
        pytest.skip("this machine has a real trtexec where the script looks")
    assert board.run("--way", "module").returncode == 5
    done = board.run("--way", "auto")
    assert done.returncode == 5
    assert re.match(
        r"board_check\.py: no engine can be built here: the Python module tensorrt cannot be imported.*; and "
        r"trtexec was not found in PATH or /usr/src/tensorrt/bin/trtexec; install TensorRT",
        done.stderr,
    )
    assert not (board.folder / "board_result.json").exists()


def test_a_changed_or_missing_file(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    (board.folder / "model.fp32.onnx").write_bytes(b"another model")
    assert "model.fp32.onnx is not the file that was shipped" in board.run().stderr
    (board.folder / "model.fp32.onnx").unlink()
    assert "model.fp32.onnx is not beside this script; copy the whole folder" in board.run().stderr
    (board.folder / "manifest.json").write_text("{}")
    assert "is not of schema 1" in board.run().stderr
    assert calls(board.tools) == []


def test_a_failed_build_says_why_and_keeps_the_old_engine(board: Board) -> None:
    (board.folder / "model.fp32.plan").write_text("an older engine")
    install(board.tools, "v100300", board.logits, broken=True)
    done = board.run()
    assert done.returncode == 5
    assert "model.fp32.onnx: trtexec failed: something broke; see model.fp32.build.log" in done.stderr
    assert (board.folder / "model.fp32.plan").read_text() == "an older engine"
    assert board.result()["engines"][0]["failed"].startswith("trtexec failed: something broke")


def test_success_without_an_engine_is_no_success(board: Board) -> None:
    install(board.tools, "v100300", board.logits, writes=False)
    assert "trtexec wrote no engine" in board.run().stderr


def put_vectors(folder: Path, content: bytes) -> None:
    """Other test vectors, and a manifest that knows them."""
    (folder / "test_vectors.npz").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == "test_vectors.npz":
            file["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def archive(**arrays: np.ndarray) -> bytes:
    with io.BytesIO() as stream:
        np.savez(stream, **arrays)
        return stream.getvalue()


IMAGES, LOGITS = np.zeros((2, 1, 8, 8), np.float32), np.ones((2, 10), np.float32)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "test_vectors.npz cannot be read"),
        (b"PK\x03\x04 and no archive", "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES), "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES, logits=np.float32(1)), "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES[:0], logits=LOGITS[:0]), "an array of 0 numbers cannot have 0 rows"),
        (archive(inputs=IMAGES, logits=LOGITS.astype(np.float64)), "neither little-endian float32 nor uint8"),
        (archive(inputs=IMAGES, logits=LOGITS[:1]), "hold 2 images and 1 rows of logits"),
        (archive(inputs=IMAGES[..., :7], logits=LOGITS), "have 56 values an image, model.fp32.onnx takes 64"),
        (archive(inputs=IMAGES, logits=LOGITS[:, :0]), "rows of logits without a class"),
        (archive(inputs=IMAGES, logits=np.full_like(LOGITS, np.nan)), "numbers that are not finite"),
    ],
)
def test_vectors_that_cannot_be_used_end_with_one_line(board: Board, content: bytes, complaint: str) -> None:
    install(board.tools, "v100300", board.logits)
    put_vectors(board.folder, content)
    done = board.run()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert complaint in done.stderr
    assert calls(board.tools) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (MemoryError(), 1, "memory is full; close other programs, or give a smaller --workspace-mib"),
        (ValueError("an odd\nnumber"), 70, "a bug in board_check.py (ValueError: an odd number); please report it"),
        (RecursionError("too deep"), 70, "a bug in board_check.py (RecursionError: too deep)"),
        (KeyboardInterrupt(), 130, "stopped; engines that were checked before are kept"),
    ],
)
def test_whatever_happens_ends_with_one_line_and_a_code(
    board: Board,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(check, "write_json", fail)
    install(board.tools, "v100300", board.logits)
    arguments = ["--way", "trtexec", "--trtexec", str(board.tools / "trtexec")]
    assert check.main(arguments, board.folder) == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"board_check.py: {line}")
    traceback = board.folder / "board_check.traceback.txt"
    assert traceback.exists() == (code == 70)
    if code == 70:
        assert str(error) in traceback.read_text()
        assert foreign_files(board.folder, read_manifest(board.folder)) == ()


def test_where_not_even_the_traceback_can_be_written(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "read_kit", lambda _: 1 / 0)
    (board.folder / "board_check.traceback.txt").mkdir()
    assert check.main([], board.folder) == 70
    assert "(board_check.traceback.txt cannot be written: " in capsys.readouterr().err


def test_memory_that_one_model_lacks_is_told_and_the_result_kept(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(check.TrtexecWay, "check", full)
    install(board.tools, "v100300", board.logits)
    assert check.main(["--way", "trtexec", "--trtexec", str(board.tools / "trtexec")], board.folder) == 5
    assert "model.fp32.onnx: memory is full" in capsys.readouterr().err
    assert board.result()["engines"][0]["failed"].startswith("memory is full")


def test_times_that_are_none(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    program = (board.tools / "trtexec").read_text()
    (board.tools / "trtexec").write_text(program.replace("0.4 + 0.001 * (i % 200)", "float('nan')"))
    done = board.run()
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    assert "model.fp32.onnx: TensorRT was timed at nan ms; run it again" in done.stderr


@pytest.mark.parametrize(
    ("kept", "found", "code"),
    [
        ([], ("int8", "int8"), 0),
        ([], ("int8", "fp32"), 4),
        (["conv1"], ("int8", "fp32"), 0),
        (["conv1"], ("int8", "fp32", "fp32"), 4),
    ],
)
def test_layers_in_more_bits_than_asked_are_refused_but_for_those_kept(
    board: Board, kept: list[str], found: tuple[str, ...], code: int
) -> None:
    manifest = json.loads((board.folder / "manifest.json").read_text())
    manifest["models"][0] |= {"precision": "int8", "mixed": {"kept": kept}}
    (board.folder / "manifest.json").write_text(json.dumps(manifest))
    install(board.tools, "v100300", board.logits, layers=layers(*found))
    done = board.run()
    assert done.returncode == code
    assert ("NOT AS ASKED" in done.stderr) == (code == 4)


def test_an_opset_that_the_version_cannot_read(board: Board) -> None:
    manifest = json.loads((board.folder / "manifest.json").read_text())
    manifest["models"][0]["opset"] = 17
    (board.folder / "manifest.json").write_text(json.dumps(manifest))
    install(board.tools, "v8201", board.logits)
    assert "the model has opset 17, but TensorRT 8.2 reads at most 13; export for" in board.run().stderr


def test_an_interruption_leaves_no_half_engine(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    waiting = (board.tools / "trtexec").read_text() + "import time; time.sleep(60)\n"
    (board.tools / "trtexec").write_text(waiting)
    command = [sys.executable, str(board.folder / "board_check.py"), "--way", "trtexec"]
    command += ["--tensorrt-version", "10.3"]
    # Its own session: the signal must reach script and trtexec together, as Ctrl-C in a terminal does.
    with subprocess.Popen(
        command,
        env={"PATH": str(board.tools)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as script:
        while not list(board.folder.glob("*.part")):
            assert script.poll() is None
            time.sleep(0.02)
        os.killpg(script.pid, signal.SIGINT)
    assert script.returncode == 130
    assert not list(board.folder.glob("*.p[al]*"))
