"""Clocks are put back whatever happens. Stand-ins for the boards' programs: nothing here ran on a Jetson."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from board_files import NVPMODEL_CONF, write

from fednas.common import FednasError
from fednas.toolchain.measure.changed_clocks import STATE, STORED, clocks_as_asked
from fednas.toolchain.measure.settings import GpuClocks, System

POLICY = "sys/devices/system/cpu/cpufreq/policy{}/scaling_governor"
NVPMODEL = """\
#!/bin/sh
# -q prints the mode, -m sets it; mode 0 wants a reboot first.
echo "nvpmodel $*" >> "$BOARD/calls"
status="$BOARD/var/lib/nvpmodel/status"
case "$1" in
  -q) id=$(sed 's/pmode:0*//; s/^$/0/' "$status")
      name=$(sed -n "s/^< POWER_MODEL ID=$id NAME=\\(.*\\) >/\\1/p" "$BOARD/etc/nvpmodel.conf")
      echo "NV Power Mode: $name"; echo "$id" ;;
  -m) if [ "$2" = 0 ]; then read answer; echo "NVPM WARN: reboot required"; exit 0; fi
      printf 'pmode:000%s\\n' "$2" > "$status" ;;
esac
"""
JETSON_CLOCKS = """\
#!/bin/sh
echo "jetson_clocks $*" >> "$BOARD/calls"
case "$1" in
  --store) [ -e "$2" ] && exit 1; cp "$BOARD/clocks" "$2" ;;
  --restore) cp "$2" "$BOARD/clocks" ;;
  *) echo locked > "$BOARD/clocks" ;;
esac
"""


class Board:
    """A machine made of files and shell scripts."""

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.out = root, out
        self.system = System(root=root, superuser=True)

    def text(self, name: str) -> str:
        return (self.root / name).read_text().strip()

    @property
    def mode(self) -> str:
        return self.text("var/lib/nvpmodel/status")

    @property
    def calls(self) -> list[str]:
        changing = (call for call in self.text("calls").splitlines() if call != "nvpmodel -q")
        return [call.replace(str(self.out), "OUT") for call in changing]


def script(folder: Path, name: str, content: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    (folder / name).chmod(0o755)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def jetson(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    root = tmp_path / "board"
    write(root, {"etc/nvpmodel.conf": NVPMODEL_CONF, "var/lib/nvpmodel/status": "pmode:0001", "clocks": "free"})
    script(tmp_path / "bin", "nvpmodel", NVPMODEL)
    script(tmp_path / "bin", "jetson_clocks", JETSON_CLOCKS)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("BOARD", str(root))
    return Board(root, out)


@pytest.fixture
def linux(tmp_path: Path, out: Path) -> Board:
    files = {POLICY.format(0): "schedutil", POLICY.format(4): "ondemand"}
    return Board(write(tmp_path / "board", files), out)


def test_nothing_is_touched_unless_asked(jetson: Board) -> None:
    with clocks_as_asked(jetson.out, system=jetson.system):
        assert not (jetson.root / "calls").exists()
    assert list(jetson.out.iterdir()) == []


def test_the_mode_is_set_by_name_then_clocks_within_it_and_both_are_put_back(jetson: Board) -> None:
    with clocks_as_asked(jetson.out, power_mode="MAXN_SUPER", lock=True, system=jetson.system):
        assert (jetson.mode, jetson.text("clocks")) == ("pmode:0002", "locked")
        assert (jetson.out / STATE).exists()
    assert (jetson.mode, jetson.text("clocks")) == ("pmode:0001", "free")
    assert jetson.calls == [
        "nvpmodel -m 2",
        f"jetson_clocks --store OUT/{STORED}",
        "jetson_clocks ",
        f"jetson_clocks --restore OUT/{STORED}",
        "nvpmodel -m 1",
    ]
    assert list(jetson.out.iterdir()) == []


@pytest.mark.parametrize("error", [FednasError("disk full"), KeyboardInterrupt(), SystemExit(3)])
def test_clocks_are_put_back_after_an_error(jetson: Board, error: BaseException) -> None:
    with (
        pytest.raises(type(error)),
        clocks_as_asked(jetson.out, power_mode="MAXN_SUPER", lock=True, system=jetson.system),
    ):
        raise error
    assert (jetson.mode, jetson.text("clocks")) == ("pmode:0001", "free")
    assert list(jetson.out.iterdir()) == []


def test_a_mode_that_needs_a_reboot_is_said_and_what_was_stays(jetson: Board) -> None:
    with (
        pytest.raises(FednasError, match=r"left the power mode at 25W when asked for 15W; some modes need a reboot"),
        clocks_as_asked(jetson.out, power_mode="15W", lock=True, system=jetson.system),
    ):
        pytest.fail("the mode was not set")
    assert (jetson.mode, jetson.text("clocks")) == ("pmode:0001", "free")
    assert list(jetson.out.iterdir()) == []


def test_an_unknown_mode_names_the_known_ones(jetson: Board) -> None:
    with (
        pytest.raises(FednasError, match=r"power mode 'MAXN_SUPR'.*MAXN_SUPER"),
        clocks_as_asked(jetson.out, power_mode="MAXN_SUPR", system=jetson.system),
    ):
        pytest.fail("there is no such mode")


def test_governors_are_set_and_each_is_put_back(linux: Board) -> None:
    with clocks_as_asked(linux.out, lock=True, system=linux.system):
        assert [linux.text(POLICY.format(number)) for number in (0, 4)] == ["performance"] * 2
    assert [linux.text(POLICY.format(number)) for number in (0, 4)] == ["schedutil", "ondemand"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power_mode": "15W"}, "no power modes that can be set by name: nvpmodel is not installed"),
        ({"lock": True}, "no clocks that can be locked"),
    ],
)
def test_a_machine_without_them_says_so(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with (
        pytest.raises(FednasError, match=message),
        clocks_as_asked(tmp_path, system=System(root=tmp_path, superuser=True), **options),  # type: ignore[arg-type]
    ):
        pytest.fail("there is nothing to set")


def test_root_is_needed_and_nothing_is_left_half_done(linux: Board) -> None:
    user = System(root=linux.root, superuser=False)
    with (
        pytest.raises(FednasError, match=r"changing clocks and power modes needs root's rights; run it with sudo"),
        clocks_as_asked(linux.out, lock=True, system=user),
    ):
        pytest.fail("not allowed")
    assert list(linux.out.iterdir()) == []


KILLED = """\
import sys, time
from pathlib import Path
from fednas.toolchain.measure.changed_clocks import clocks_as_asked
from fednas.toolchain.measure.settings import System
with clocks_as_asked(Path(sys.argv[1]), lock=True, system=System(root=Path(sys.argv[2]), superuser=True)):
    print("locked", flush=True)
    time.sleep(60)
"""


def running(board: Board) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", KILLED, str(board.out), str(board.root)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "locked\n"
    return run


def test_a_kill_leaves_a_note_and_the_next_run_puts_the_clocks_back(linux: Board) -> None:
    with running(linux) as run:
        busy = r"another run has changed the clocks, see .*; wait for it"
        with pytest.raises(FednasError, match=busy), clocks_as_asked(linux.out, lock=True, system=linux.system):
            pytest.fail("two runs must not set the clocks")
        run.kill()
    assert linux.text(POLICY.format(0)) == "performance"
    with clocks_as_asked(linux.out, system=linux.system):
        assert [linux.text(POLICY.format(number)) for number in (0, 4)] == ["schedutil", "ondemand"]
    assert list(linux.out.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_asked_to_end_puts_the_clocks_back(linux: Board, number: signal.Signals) -> None:
    with running(linux) as run:
        run.send_signal(number)
        assert run.wait() == 128 + number
    assert linux.text(POLICY.format(4)) == "ondemand"
    assert list(linux.out.iterdir()) == []


def test_what_cannot_be_put_back_is_said_and_stays_on_record(linux: Board) -> None:
    message = r"clocks could not be put back: governors: .*policy4.* is no governor's file.*says what they were"
    with pytest.raises(FednasError, match=message), clocks_as_asked(linux.out, lock=True, system=linux.system):
        (linux.root / POLICY.format(4)).unlink()
    assert (linux.out / STATE).exists()
    assert linux.text(POLICY.format(0)) == "schedutil"


@pytest.mark.parametrize("content", ["{", '{"schema": 1, "before": [{"setting": "../x", "values": {}}]}', "[]"])
def test_a_damaged_note_is_said(linux: Board, content: str) -> None:
    (linux.out / STATE).write_text(content)
    with (
        pytest.raises(FednasError, match="clocks before an earlier run"),
        clocks_as_asked(linux.out, system=linux.system),
    ):
        pytest.fail("what was is not known")


def test_an_empty_note_is_of_a_run_that_changed_nothing(linux: Board) -> None:
    (linux.out / STATE).touch()
    with clocks_as_asked(linux.out, system=linux.system):
        assert not (linux.out / STATE).exists()


def test_a_note_cannot_name_files_that_are_no_governors(linux: Board) -> None:
    victim = write(linux.root, {"etc/passwd": "root"}) / "etc/passwd"
    values = '{"etc/passwd": "mine", "../out/x": "mine"}'
    (linux.out / STATE).write_text(f'{{"schema": 1, "before": [{{"setting": "governors", "values": {values}}}]}}')
    with pytest.raises(FednasError, match="is no governor's file"), clocks_as_asked(linux.out, system=linux.system):
        pytest.fail("refused")
    assert victim.read_text() == "root\n"


def test_the_clock_of_a_card_is_locked_at_its_highest(linux: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(_: System, command: list[str]) -> str:
        asked.append(" ".join(command[1:]))
        return "1980\n"

    monkeypatch.setattr(System, "run", run)
    clocks = GpuClocks(linux.system)
    clocks.change()
    clocks.restore({})
    assert asked[1:] == ["--id=0 --lock-gpu-clocks=1980,1980", "--id=0 --reset-gpu-clocks"]


def test_a_program_that_fails_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "bin", "nvpmodel", "#!/bin/sh\necho 'NVPM ERROR: no access' >&2\nexit 3\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(FednasError, match=r"nvpmodel -q failed: NVPM ERROR: no access"):
        System().run(["nvpmodel", "-q"])
