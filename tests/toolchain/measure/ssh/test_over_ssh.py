"""A job on a board over a real sshd: readings come here, and nothing stays there."""

from typing import Any

import pytest
from ssh_bench import Bench

from fednas.common import FednasError
from fednas.toolchain.measure.kit import read_results


def test_readings_come_back_and_nothing_stays(bench: Bench, board: Any) -> None:
    collected = bench.collect(kit=bench.kit(rounds=8, pause=0.1))
    assert len(collected.readings) == 8
    assert board.folders == []
    assert not bench.places.state.exists()
    assert bench.places.results.exists()
    assert bench.said[0].startswith(f"board: measuring in {board.temporary}/fednas-")
    done, total, what = bench.progress[-1]
    assert total == 5.0
    assert 0 < done <= total
    assert what.startswith("round ")


def test_a_board_with_busybox_and_without_sftp(bench: Bench, small_board: Any) -> None:
    """Small systems: a shell that is not even dash, and the older protocol of scp."""
    collected = bench.collect(kit=bench.kit(rounds=5, pause=0.1))
    assert len(collected.readings) == 5
    assert small_board.folders == []


def test_a_board_with_an_ipv6_address(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not board.on_ipv6:
        pytest.skip("no IPv6 on the loopback interface")
    config = bench.folder / "config"
    config.write_text((board.folder / "ssh_config").read_text().replace("    HostName 127.0.0.1\n", ""))
    monkeypatch.setenv("FEDNAS_SSH_CONFIG", str(config))
    assert len(bench.collect("::1").readings) == 3
    assert board.folders == []


def test_results_that_are_not_believed_are_kept_here_and_there(
    bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.collect.read_results", read_results)
    with pytest.raises(FednasError, match=r"results .*results.json: missing key schema"):
        bench.collect()
    assert bench.places.results.is_file()
    assert [(folder / "kit" / "results.json").is_file() for folder in board.folders] == [True]
    assert bench.places.state.exists()


def test_results_larger_than_any_are_not_taken(bench: Bench, board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.board.RESULTS_LIMIT", 10)
    with pytest.raises(FednasError, match="the board sends more than 10 bytes of results"):
        bench.collect()
    assert not bench.places.results.exists()
