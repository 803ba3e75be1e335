"""What is done on a board, one method for each thing, on top of a link to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fednas.common import FednasError, format_bytes
from fednas.toolchain.measure.ssh import scripts
from fednas.toolchain.measure.ssh.address import SshAddress
from fednas.toolchain.measure.ssh.link import COMMAND_LIMIT_S, Link, printable

OLDEST_PYTHON = (3, 6)
"""That the kit runs on."""
DEFAULT_PYTHON = "python3"
RESULTS_LIMIT = 512 * 1024 * 1024
LEAST_FREE = 1 << 20
"""Bytes; a disk with less is called full."""
_ROOM_FOR_READINGS = 32 * 1024 * 1024
_START_LIMIT_S = 60.0
_PYTHON = re.compile(r"(?:~/|/)?[A-Za-z0-9_.+-]*[A-Za-z0-9_.+/-]*")


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run is."""

    state: Literal["running", "ended", "dead", "gone"]
    """Ended: by itself. Dead: killed with all that belongs to it, or the board was started anew."""
    code: int | None
    """What the kit returned, where it ended."""
    line: str
    """The last that it said."""
    readings_bytes: int
    free_bytes: int | None

    @property
    def disk_full(self) -> bool:
        """Whether nothing more can be written there."""
        return self.free_bytes is not None and self.free_bytes < LEAST_FREE


class Board:
    """One board, reached through a link. Methods raise the `LinkError` of the link where the link fails."""

    def __init__(self, link: Link, python: str = DEFAULT_PYTHON) -> None:
        self.address: SshAddress = link.address
        self._link = link
        self._python = python

    def processor(self) -> str:
        """How the board calls its processor; raises `FednasError` if it has no Python that will do."""
        found = self._ask(scripts.PROBE, python=self._python)
        wanted = f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer"
        hint = f"measuring needs {wanted} with the runtime there; --board-python names one, such as ~/venv/bin/python"
        version = found.get("python", "")
        if not version:
            raise FednasError(f"{self.address} has no {self._python}", hint=hint)
        numbers = tuple(int(part) for part in re.findall(r"\d{1,4}", version))[:2]
        if numbers < OLDEST_PYTHON:
            raise FednasError(f"{self._python} of {self.address} is Python {printable(version)}", hint=hint)
        return printable(found.get("model", ""))

    def make_folder(self, kit_bytes: int) -> str:
        """A temporary folder where the kit and its readings have room."""
        needed = kit_bytes + _ROOM_FOR_READINGS
        found = self._ask(scripts.MAKE_FOLDER, kib=-(-needed // 1024))
        if "folder" not in found:
            most = printable(found.get("short", "no folder can be written to"))
            raise FednasError(
                f"{self.address} has no room for the {format_bytes(needed)} that measuring needs ({most})",
                hint="free some space there, in /tmp, /var/tmp or the home folder",
            )
        folder = found["folder"]
        if not scripts.FOLDER.fullmatch(folder):
            raise FednasError(f"{self.address} made the folder {printable(folder)!r}", hint="set a plain TMPDIR there")
        return folder

    def send(self, kit: Path, folder: str) -> None:
        """Copy the kit there, anew if part of it is there."""
        if self._ask(scripts.CLEAR_KIT, dir=folder).get("state") == "gone":
            raise self.gone(folder)
        answer = self._link.send(kit, f"{folder}/kit")
        if answer.code != 0:
            status = self.status(folder)
            raise FednasError(
                f"the kit cannot be copied to {self.address}:{folder}: "
                + ("its disk is full" if status.disk_full else printable(answer.problem.strip() or "scp says nothing")),
                hint="free some space there and run it again" if status.disk_full else "try scp by hand",
            )

    def start(self, folder: str, seconds: float) -> bool:
        """Measure there for ``seconds`` in all, detached from this login; whether that is done already.

        What is running is left alone, for however many seconds it was started.
        """
        found = self._ask(scripts.START, limit_s=_START_LIMIT_S, dir=folder, python=self._python, seconds=seconds)
        if found.get("state") == "gone":
            raise self.gone(folder)
        if found.get("state") not in ("running", "ended"):
            free = _number(found.get("free"))
            full = free is not None and free * 1024 < LEAST_FREE
            raise FednasError(
                f"measuring cannot be started on {self.address}{': its disk is full' if full else ''}",
                hint=f"look into {folder} there",
            )
        return found["state"] == "ended"

    def status(self, folder: str) -> Status:
        """How far it is."""
        found = self._ask(scripts.STATUS, dir=folder)
        state = found.get("state")
        free = _number(found.get("free"))
        return Status(
            state=state if state in ("running", "ended", "gone") else "dead",  # type: ignore[arg-type]
            code=_number(found.get("code")),
            line=printable(found.get("line", "")),
            readings_bytes=_number(found.get("readings")) or 0,
            free_bytes=None if free is None else free * 1024,
        )

    def fetch_results(self, folder: str, target: Path) -> None:
        """Copy the results here."""
        answer = self._link.fetch(f"{folder}/kit/results.json", target, most_bytes=RESULTS_LIMIT)
        if answer.code != 0:
            raise FednasError(
                f"the results cannot be copied from {self.address}:{folder}: "
                + printable(answer.problem.strip() or "scp says nothing"),
                hint="--resume tries again",
            )

    def finish(self, folder: str, *, keep_readings: bool) -> bool:
        """Stop what runs there and remove the folder; True if it was kept because readings stand in it."""
        return self._ask(scripts.FINISH, dir=folder, keep="yes" if keep_readings else "no").get("state") == "kept"

    def gone(self, folder: str) -> FednasError:
        """The error for a folder that is there no more."""
        return FednasError(
            f"{folder} is gone from {self.address}, and with it the readings: it was removed, or the board restarted",
            hint="start again without --resume",
        )

    def _ask(self, template: str, *, limit_s: float = COMMAND_LIMIT_S, **values: object) -> Mapping[str, str]:
        answer = self._link.run(scripts.script(template, **values), limit_s=limit_s)
        found = scripts.answers(answer.text)
        if not found:
            said = printable((answer.problem or answer.text).strip()) or f"nothing, code {answer.code}"
            raise FednasError(f"{self.address} runs no shell scripts: {said}", hint="is it a system with sh?")
        return found


def check_python(python: str) -> str:
    """``python`` if it can name a program on a board; raises `FednasError` otherwise."""
    if not _PYTHON.fullmatch(python) or python.startswith("-") or not python.strip("~/."):
        raise FednasError(f"--board-python {python!r} is no program", hint="such as python3.8 or ~/venv/bin/python")
    return python


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
