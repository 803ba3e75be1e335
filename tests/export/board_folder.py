"""A folder that was carried to a board, and how its script is run there."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Board:
    """A shipped folder, and a PATH that holds nothing but what the test puts there."""

    folder: Path
    tools: Path
    logits: dict[str, list[float]]

    def run(self, *arguments: str, python: Path = Path(sys.executable)) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(python), "-W", "error", str(self.folder / "board_check.py"), "--way", "trtexec", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder.parent,
            env={"PATH": str(self.tools)},
        )

    def result(self) -> Any:
        return json.loads((self.folder / "board_result.json").read_text())
