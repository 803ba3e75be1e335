"""The board's ``measure.py``: modules that run on Python 3.6, joined into one file."""

import ast
import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from fednas.common import ContractError

PARTS = (
    "fednas.export.board.problem",
    "fednas.export.board.cudart",
    "fednas.export.board.trt_build",
    "fednas.export.board.inspector",
    "fednas.toolchain.measure.kit.board.folder",
    "fednas.toolchain.measure.kit.board.power",
    "fednas.toolchain.measure.kit.board.tegrastats",
    "fednas.toolchain.measure.kit.board.gpu",
    "fednas.toolchain.measure.kit.board.state",
    "fednas.toolchain.measure.kit.board.same",
    "fednas.toolchain.measure.kit.board.usage",
    "fednas.toolchain.measure.kit.board.partial",
    "fednas.toolchain.measure.kit.board.halves",
    "fednas.toolchain.measure.kit.board.on_onnxruntime",
    "fednas.toolchain.measure.kit.board.on_tensorrt",
    "fednas.toolchain.measure.kit.board.on_trtexec",
    "fednas.toolchain.measure.kit.board.choice",
    "fednas.toolchain.measure.kit.board.energy",
    "fednas.toolchain.measure.kit.board.measuring",
    "fednas.toolchain.measure.kit.board.main",
)
"""In this order: a part uses only what stands above it."""
HEADER = '''#!/usr/bin/env python3
"""Measures the models of this kit on this machine: python3 measure.py

Written by fednas-export; joined from its own modules. Needs Python 3.6 or later and one of: numpy and onnxruntime,
tensorrt with CUDA, or the program trtexec. It changes nothing outside this folder and no setting of the machine.
"""
'''
FOOTER = '\nif __name__ == "__main__":\n    sys.exit(main(sys.argv[1:]))\n'


def measuring_script() -> str:
    """Source of the script; the same modules give the same text."""
    return HEADER + joined([inspect.getsource(importlib.import_module(name)) for name in PARTS]) + FOOTER


@dataclass(slots=True)
class _Joined:
    modules: set[str] = field(default_factory=set)
    names: dict[str, set[str]] = field(default_factory=dict)
    """Imported names by module."""
    defined: set[str] = field(default_factory=set)
    bodies: list[str] = field(default_factory=list)


def joined(sources: Sequence[str]) -> str:
    """One module of several: imports of the standard library on top, imports of each other left out.

    Raises `ContractError` if two define the same name at top level.
    """
    result = _Joined()
    for source in sources:
        _take_in(result, source)
    plain = [f"import {module}" for module in sorted(result.modules)]
    of = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(result.names.items())]
    return "\n".join(["", *plain, *of, ""]) + "".join(result.bodies)


def _take_in(result: _Joined, source: str) -> None:
    tree, lines = ast.parse(source), source.splitlines()
    for position, node in enumerate(tree.body):
        if isinstance(node, ast.Import):
            result.modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if not module.startswith("fednas."):
                result.names.setdefault(module, set()).update(alias.name for alias in node.names)
        elif not (position == 0 and ast.get_docstring(tree) is not None):
            _define(result, node)
            continue
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    title = (ast.get_docstring(tree) or "").splitlines()[0]
    body = "\n".join(lines).strip("\n")
    result.bodies.append(f"\n\n# {'-' * 110}\n# {title}\n\n\n{body}\n")


def _define(result: _Joined, node: ast.stmt) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    # BOARD_RUNTIMES["x"] = ... only fills in what another part defines.
    names = {name.id for target in targets for name in ast.walk(target) if _is_stored(name)}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names.add(node.name)
    if twice := names & result.defined:
        raise ContractError(f"two parts of the script define {', '.join(sorted(twice))}")
    result.defined |= names


def _is_stored(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
