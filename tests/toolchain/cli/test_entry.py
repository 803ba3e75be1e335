"""Where the console script starts: the earliest Ctrl-C, SIGTERM, and output that cannot be written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fednas.toolchain.cli
from fednas.toolchain.entry import main


def test_ctrl_c_before_any_command_runs_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fednas.toolchain.cli, "app", interrupted)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "fednas-export: interrupted; nothing was left half written\n"


STUCK = """
import sys, time
from fednas.toolchain.entry import main
from fednas.toolchain.ship import job

def stuck(*_):
    print("begun", flush=True)
    time.sleep(60)

job.write_device_folder = stuck
sys.argv[1:] = ["--device", "jetson", "--max-macs", "1M", "--quiet", "--out", sys.argv[1]]
main()
"""


def test_sigterm_tidies_up_like_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
        job.send_signal(signal.SIGTERM)
        _, said = job.communicate()
    assert (job.returncode, said) == (143, "fednas-export: ended by SIGTERM; nothing was left half written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_behind_stdout_is_one_line(flags: list[str]) -> None:
    code = f"import sys; from fednas.toolchain.entry import main; sys.argv[1:] = ['devices', *{flags!r}]; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("fednas-export:")]
    assert lines == [
        "fednas-export: the result cannot be written to stdout: No space left on device; free some space or redirect it"
    ]
