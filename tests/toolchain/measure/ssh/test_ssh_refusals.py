"""Boards that are refused, or refuse, before anything is measured: one line, and nothing stays there."""

import os
from typing import Any

import pytest
from ssh_bench import Bench

from fednas.common import ExitCode, FednasError
from fednas.profiles import find_profile


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("stranger", r"stranger cannot be reached: its host key is not known here .*; make `ssh stranger` work"),
        ("impostor", r"impostor cannot be reached: its host key has changed since it was last seen"),
        ("locked", r"locked cannot be reached: it does not let you in with your keys .*Permission denied"),
    ],
)
def test_who_is_not_trusted_gets_nothing(bench: Bench, board: Any, host: str, message: str) -> None:
    with pytest.raises(FednasError, match=message):
        bench.collect(host)
    assert (board.folder / "no_hosts").read_text() == ""
    assert not bench.places.state.exists()


def test_a_board_that_is_off_is_one_line(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.folder / "config"
    config.write_text("Host board\n    HostName 127.0.0.1\n    Port 1\n")
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(config))
    with pytest.raises(FednasError, match=r"board cannot be reached: .*Connection refused; check that the board is on"):
        bench.collect()
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(bench.folder / "none"))
    with pytest.raises(FednasError, match=r"FEDNAS_SSH_CONFIG names .*none, which is no file"):
        bench.collect()


@pytest.mark.parametrize(
    ("python", "answer", "message"),
    [
        ("python-of-nobody", "", "board has no python-of-nobody; measuring needs Python 3.6 or newer"),
        ("{old}", "3.5", "is Python 3.5; measuring needs Python 3.6 or newer"),
    ],
)
def test_a_board_without_the_python_is_told_before_anything_is_sent(
    bench: Bench, board: Any, python: str, answer: str, message: str
) -> None:
    old = bench.folder / "old-python"
    old.write_text(f"#!/bin/sh\necho {answer}\n")
    old.chmod(0o755)
    with pytest.raises(FednasError, match=message):
        bench.collect(python=python.format(old=old))
    assert board.folders == []


def test_a_board_that_is_another_device_is_refused(bench: Bench, board: Any) -> None:
    with pytest.raises(FednasError, match=r"board is .*, not raspberry-pi-5"):
        bench.collect(device=find_profile("raspberry-pi-5"))
    assert board.folders == []
    bench.collect(device=find_profile("jetson"))
    assert "does not look like jetson-orin-nano" in bench.said[0]


def test_no_room_on_the_board_is_said_before_anything_is_sent(bench: Bench, board: Any) -> None:
    kit = bench.kit()
    os.truncate(kit() / "models" / "0000.onnx", 1 << 42)
    with pytest.raises(FednasError, match=r"board has no room for the .* that measuring needs \(\d+ KiB in "):
        bench.collect(kit=kit)
    assert board.folders == []


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        (1, ExitCode.USER_ERROR, "measuring on board failed with code 1: no onnxruntime here"),
        (5, ExitCode.CANNOT_TELL, "board cannot measure this: no onnxruntime here"),
    ],
)
def test_what_the_kit_complains_of_is_passed_on(
    bench: Bench, board: Any, code: int, exit_code: ExitCode, message: str
) -> None:
    with pytest.raises(FednasError, match=message) as caught:
        bench.collect(kit=bench.kit(says="no\x1bonnxruntime here", code=code))
    assert caught.value.exit_code is exit_code
    assert board.folders == []
    assert not bench.places.state.exists()
