"""The system's ssh and scp, as processes: argument lists, no password prompts, bounded time and output."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fednas.common import FednasError
from fednas.toolchain.measure.ssh.address import SshAddress

CONFIG_VARIABLE = "FEDNAS_SSH_CONFIG"
"""Names an ssh configuration to use instead of the user's own."""
LINK_FAILED = 255
"""What ssh itself returns; commands on the board return something else."""
COMMAND_LIMIT_S = 90.0
OUTPUT_LIMIT = 100_000
"""Bytes that a command on the board may print."""
_SOCKET_PATH_LIMIT = 80
"""The system takes about 104, and ssh appends some while it creates the socket."""
_TICK_S = 0.05
_NO_SFTP = re.compile(r"subsystem request failed|sftp-server|Connection closed\s*$", re.MULTILINE)
_BROKEN = re.compile(r"lost connection|Broken pipe|Connection (closed|reset)|^usage: scp", re.MULTILINE)
CHANGED_KEY = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_REFUSED = (
    (CHANGED_KEY, "its host key has changed since it was last seen"),
    ("Host key verification failed", "its host key is not known here"),
    ("Permission denied", "it does not let you in with your keys"),
    ("Could not resolve hostname", "no machine of this name is known"),
)


class LinkError(Exception):
    """The board could not be reached, or the link broke; may be tried again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on the board returned."""

    code: int
    text: str
    problem: str
    """What it wrote to stderr."""


class Link:
    """The way to one board; one connection is shared by all commands where ssh can do that.

    Use as a context manager: leaving closes the shared connection. ``stop`` ends whatever runs, by
    `KeyboardInterrupt`.
    """

    def __init__(self, address: SshAddress, stop: threading.Event) -> None:
        """Raises `FednasError` where ssh or scp is missing."""
        self.address = address
        self.stop = stop
        self._ssh, self._scp = _program("ssh"), _program("scp")
        options = _options(address)
        self._folder = tempfile.TemporaryDirectory(prefix="fednas-ssh-", ignore_cleanup_errors=True)
        self._options = [*options, *_sharing(Path(self._folder.name) / "s")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self._folder.cleanup()

    def run(self, script: str, *, limit_s: float = COMMAND_LIMIT_S) -> Answer:
        """Run a script for POSIX sh on the board; raises `LinkError` if it cannot be told how that went.

        The script travels on stdin, so that no login shell interprets it.
        """
        answer = self._process([self._ssh, *self._options, "-T", "--", self.address.host, "sh -s"], script, limit_s)
        if answer.code == LINK_FAILED:
            raise LinkError(_last_line(answer.problem) or "the connection failed")
        return answer

    def send(self, source: Path, target: str) -> Answer:
        """Copy a folder to the path ``target`` on the board, which must not exist; as `run`."""
        return self._copy(["-r", "--", str(source), f"{self.address.remote}:{target}"])

    def fetch(self, source: str, target: Path, *, most_bytes: int) -> Answer:
        """Copy a file of the board, no folder, to ``target``; raises `FednasError` where it is larger than allowed."""
        return self._copy(["--", f"{self.address.remote}:{source}", str(target)], grows=target, most_bytes=most_bytes)

    def hang_up(self) -> None:
        """Close the shared connection, if there is one; the next command opens another."""
        command = [self._ssh, *self._options, "-O", "exit", "--", self.address.host]
        try:
            subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return

    def _copy(self, words: list[str], *, grows: Path | None = None, most_bytes: int = 0) -> Answer:
        answer = Answer(LINK_FAILED, "", "")
        # Boards without an sftp server speak the older protocol; -O asks for it, which older programs speak anyway.
        for older in ([], ["-O"]):
            command = [self._scp, *self._options, *older, *words]
            answer = self._process(command, "", float("inf"), grows=grows, most_bytes=most_bytes)
            if answer.code == 0 or not _NO_SFTP.search(answer.problem):
                break
        if answer.code == LINK_FAILED or _BROKEN.search(answer.problem):
            raise LinkError(_last_line(answer.problem) or "the connection failed")
        return answer

    def _process(
        self, command: Sequence[str], stdin: str, limit_s: float, *, grows: Path | None = None, most_bytes: int = 0
    ) -> Answer:
        """Run a program to its end, within bounds; its output goes to files, which no leftover child keeps open."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            # A session of its own: Ctrl-C in the terminal is ours to handle, the board is tidied up over this link.
            process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err, start_new_session=True)
            try:
                deadline = time.monotonic() + limit_s
                while process.poll() is None:
                    if self.stop.wait(_TICK_S):
                        raise KeyboardInterrupt
                    if time.monotonic() > deadline:
                        raise LinkError(f"no answer within {limit_s:.0f} s")
                    sizes = [os.fstat(stream.fileno()).st_size for stream in (out, err)]
                    if max(sizes) > OUTPUT_LIMIT:
                        raise FednasError(f"{self.address} answers with too much text", hint="is it the right machine?")
                    _check_size(grows, most_bytes)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            _check_size(grows, most_bytes)
            out.seek(0)
            err.seek(0)
            return Answer(process.returncode, _text(out.read(OUTPUT_LIMIT)), _text(err.read(OUTPUT_LIMIT)))


def refusal(address: SshAddress, reason: str) -> FednasError:
    """The error for a board that cannot be reached at all, with what ssh said."""
    why = next((text for words, text in _REFUSED if words in reason), None)
    hint = "check that the board is on and that the address is right"
    if why:
        hint = f"make `{address.by_hand()}` work without a question first"
    return FednasError(f"{address} cannot be reached: {f'{why} ({reason})' if why else reason}", hint=hint)


def _options(address: SshAddress) -> list[str]:
    settings = {
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        # What the user's configuration may add for logging in by hand, and what would disturb here.
        "RemoteCommand": "none",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }
    if address.user:
        settings["User"] = address.user
    if address.port:
        settings["Port"] = str(address.port)
    config = os.environ.get(CONFIG_VARIABLE)
    if config and not Path(config).is_file():
        raise FednasError(f"{CONFIG_VARIABLE} names {config}, which is no file", hint="name an ssh configuration")
    chosen = ["-F", config] if config else []
    return [*chosen, *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def _sharing(socket: Path) -> list[str]:
    """Options to share one connection; none where the system cannot or the path is too long for a socket."""
    if os.name != "posix" or len(str(socket)) > _SOCKET_PATH_LIMIT:
        return []
    path = str(socket).replace("%", "%%")
    return ["-o", "ControlMaster=auto", "-o", f"ControlPath={path}", "-o", "ControlPersist=120"]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FednasError(f"{name} is not installed here", hint="install the OpenSSH client of your system")
    return path


def _check_size(path: Path | None, most_bytes: int) -> None:
    if path is not None and path.is_file() and path.stat().st_size > most_bytes:
        raise FednasError(
            f"the board sends more than {most_bytes:,} bytes of results", hint="is something else in their place?"
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _last_line(text: str) -> str:
    lines = [printable(line) for line in text.splitlines() if line.strip()]
    # Of a changed key, ssh prints a page; its last line alone would say less than its title.
    title = next((line for line in lines if CHANGED_KEY in line), None)
    return CHANGED_KEY if title else (lines[-1] if lines else "")


def printable(text: str, most: int = 300) -> str:
    """A line from a board, safe for the terminal: no control characters, bounded."""
    return "".join(c if c.isprintable() else " " for c in text)[:most].strip()
