"""The one script of the shipped folder, joined from the modules of `fednas.export.board`.

One script in Python and not in sh: comparing logits and writing a result that can be checked needs more than sh has;
every JetPack since 4 brings Python 3.6 or later as the system's own. For a bare image without Python, the script
prints trtexec's command lines on any other computer (``--commands 10.3``).
"""

import ast

BOARD_SCRIPT = "board_check.py"
PARTS = (
    "problem",
    "kit",
    "kit_vectors",
    "machine",
    "inspector",
    "cudart",
    "timing_key",
    "trt_build",
    "trt_session",
    "trtexec",
    "ways",
    "check",
)
"""In the order in which they need each other."""
_HEAD = '''#!/usr/bin/env python3
"""Builds TensorRT engines from the models of this folder on this board, checks and measures them.

    python3 board_check.py            (--help lists the settings)

Needs Python 3.6 or later and either TensorRT's Python module with libcudart, or trtexec; nothing else. It writes
only into its own folder: model.PRECISION.plan, logs, a timing cache, and board_result.json, which
`fednas-export verify FOLDER --import board_result.json` checks and folds into the report.

An engine runs only with the TensorRT version and on the kind of GPU that built it.
Joined from the modules of fednas.export.board; never run on TensorRT itself by its authors, only on stand-ins.
"""
'''


def board_script() -> str:
    """The script; the same for every folder, it reads what to do from the manifest beside it."""
    import importlib.resources

    folder = importlib.resources.files("fednas.export.board")
    imports = _Imports()
    bodies = [imports.taken_from(folder.joinpath(f"{part}.py").read_text("utf-8")) for part in PARTS]
    return f"{_HEAD}\n{imports}\n\n\n" + "\n\n\n".join(bodies) + "\n"


class _Imports:
    """What the parts import from the standard library, each once."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._names: dict[str, set[str]] = {}

    def __str__(self) -> str:
        froms = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self._names.items())]
        return "\n".join([*(f"import {module}" for module in sorted(self._modules)), *froms])

    def taken_from(self, source: str) -> str:
        """The rest of a part, without its docstring and imports."""
        lines = source.splitlines(keepends=True)
        first = 0
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import):
                self._modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                if not (node.module or "").startswith("fednas."):
                    self._names.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
            elif not (isinstance(node, ast.Expr) and first == 0):
                break
            first = node.end_lineno or first
        return "".join(lines[first:]).strip()
