"""A real sshd on the loopback interface, with keys, configuration and temporary folder of its own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ssh_bench import Bench, read_counted

from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.ssh import CONFIG_VARIABLE
from fednas.toolchain.space import SearchSpace


@dataclass(frozen=True)
class LoopbackBoard:
    """An sshd that stands for boards: the aliases ``board``, ``other``, ``stranger`` and ``locked``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def temporary(self) -> Path:
        """Where the board makes temporary folders."""
        return self.folder / "board-tmp"

    @property
    def folders(self) -> list[Path]:
        return sorted(self.temporary.glob("fednas-*"))

    @property
    def on_ipv6(self) -> bool:
        return _has_ipv6()

    @contextmanager
    def program(self, name: str, script: str) -> Iterator[Path]:
        """A program of the board that answers instead of its own."""
        path = self.folder / "programs" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        try:
            yield path
        finally:
            path.unlink()

    def cut_links(self) -> None:
        """Kill the sshd of every connection, not the one that listens."""
        for child in children_of(self.process.pid):
            os.kill(child, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


@contextmanager
def running_sshd(folder: Path, *, sftp: bool, path: str) -> Iterator[LoopbackBoard]:
    """An sshd whose logins find programs along ``path``."""
    server = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if server is None or not shutil.which("ssh") or not shutil.which("scp") or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd here (apt-get install openssh-server)")
    if os.geteuid() == 0:
        # As root, sshd wants this folder, which its service would make.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "board-tmp").mkdir()
    (folder / "board-home").mkdir()
    (folder / "programs").mkdir()
    for name in ("host_key", "user_key", "other_key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
    port = _free_port()
    _write_settings(folder, port, sftp=sftp, path=path)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        try:
            _wait_until_it_listens(process, port, folder / "log")
            yield LoopbackBoard(folder, port, process)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackBoard]:
    folder = tmp_path_factory.mktemp("sshd")
    path = f"{folder}/programs:{Path(sys.executable).parent}:/usr/bin:/bin"
    with running_sshd(folder, sftp=True, path=path) as board:
        yield board


@pytest.fixture
def small_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackBoard]:
    """A board with busybox for everything, and no sftp."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox here (apt-get install busybox-static)")
    programs, folder = tmp_path / "bin", tmp_path / "sshd"
    programs.mkdir()
    folder.mkdir()
    subprocess.run([busybox, "--install", "-s", str(programs)], check=True)
    (programs / "python3").symlink_to(sys.executable)
    (programs / "scp").symlink_to(shutil.which("scp") or "")
    with running_sshd(folder, sftp=False, path=str(programs)) as board:
        monkeypatch.setenv(CONFIG_VARIABLE, str(folder / "ssh_config"))
        yield board


@pytest.fixture
def board(sshd: LoopbackBoard, monkeypatch: pytest.MonkeyPatch) -> LoopbackBoard:
    """The loopback board, with nothing on it, as what ``ssh`` finds."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(sshd.folder / "ssh_config"))
    for left in sshd.folders:
        shutil.rmtree(left)
    return sshd


@pytest.fixture(scope="session")
def job(tiny_space: SearchSpace) -> MeasuringJob:
    plan = plan_for("exhaustive", tiny_space)
    return MeasuringJob(
        device="cpu", plan=plan, runtime="onnxruntime", precision="fp32", threads=1, batch=1, seconds=5.0, seed=0
    )


@pytest.fixture
def bench(tmp_path: Path, job: MeasuringJob, board: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("fednas.toolchain.measure.ssh.collect.read_results", read_counted)
    return Bench(tmp_path, job)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_settings(folder: Path, port: int, *, sftp: bool, path: str) -> None:
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    (folder / "sshd_config").write_text(
        f"""\
Port {port}
ListenAddress 127.0.0.1
{"ListenAddress ::1" * _has_ipv6()}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PidFile none
MaxStartups 100
SetEnv TMPDIR={folder}/board-tmp HOME={folder}/board-home PATH={path}
{"Subsystem sftp internal-sftp" * sftp}
"""
    )
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"loopback {host_key}")
    (folder / "changed_hosts").write_text(f"loopback {(folder / 'other_key.pub').read_text()}")
    (folder / "no_hosts").touch()
    (folder / "ssh_config").write_text(
        f"""\
Host stranger
    UserKnownHostsFile {folder}/no_hosts
Host impostor
    UserKnownHostsFile {folder}/changed_hosts
Host locked
    IdentityFile {folder}/other_key
Host * !locked
    IdentityFile {folder}/user_key
Host *
    HostName 127.0.0.1
    HostKeyAlias loopback
    Port {port}
    User {getpass.getuser()}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
"""
    )


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text().strip()[-200:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("sshd started and does not listen")
