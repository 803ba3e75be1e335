"""The architecture as tests: downward imports, light commands, complete packages, documented public names."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("common", "profiles", "latency_tables", "export", "toolchain")
MAY_IMPORT = {
    "common": set(),
    "profiles": {"common"},
    "latency_tables": {"common", "profiles"},
    "export": {"common", "profiles"},
    "toolchain": {"common", "profiles", "latency_tables", "export"},
}
HEAVY = ("torch", "torchvision", "onnxruntime", "sklearn", "tensorrt")


def modules_of(room: str) -> Iterator[Path]:
    yield from (REPOSITORY / room).rglob("*.py")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_run_downward(room: str) -> None:
    upward = []
    for path in modules_of(room):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "fednas" and parts[1] not in MAY_IMPORT[room] | {room}:
                    upward.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert upward == []


def test_the_wheel_lists_every_package_on_disk() -> None:
    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    on_disk = {
        "fednas." + ".".join(init.parent.relative_to(REPOSITORY).parts)
        for room in ROOMS
        for init in (REPOSITORY / room).rglob("__init__.py")
    }
    assert listed == on_disk


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in modules_of(room)}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_documented(room: str) -> None:
    packages = [p.parent.relative_to(REPOSITORY).parts for p in (REPOSITORY / room).rglob("__init__.py")]
    undocumented = []
    for parts in packages:
        module = importlib.import_module("fednas." + ".".join(parts))
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value):
                undocumented.append(f"{module.__name__}.{name}")
    assert undocumented == []


def test_files_stay_short() -> None:
    long = [p for room in ROOMS for p in modules_of(room) if len(p.read_text().splitlines()) > 400]
    assert long == []


def run_without(blocked: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter in which importing ``blocked`` fails as if it were not installed."""
    prelude = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
    return subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["fednas.common", "fednas.profiles", "fednas.latency_tables", "fednas.export"])
def test_the_lower_rooms_import_without_heavy_packages(module: str) -> None:
    done = run_without(HEAVY, f"import {module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["devices"],
        ["devices", "show", "jetson"],
        ["search", "--max-macs", "5M"],
        ["search", "--device", "jetson", "--max-latency", "1ms"],
        ["doctor"],
        ["profile", "--help"],
    ],
    ids=" ".join,
)
def test_light_commands_need_no_heavy_packages(arguments: list[str]) -> None:
    done = run_without(HEAVY, f"from fednas.toolchain.cli import app; app({arguments!r})")
    assert done.returncode == 0, done.stderr


def test_help_and_devices_load_neither_numpy_nor_scipy() -> None:
    # What keeps them under 0.3 s; the seconds themselves are in benchmarks/.
    report = "print([m for m in ('numpy', 'scipy', 'onnx', 'rich') if m in sys.modules], file=sys.stderr)"
    for arguments in (["--help"], ["devices"]):
        run = f"from fednas.toolchain.cli import app\ntry: app({arguments!r})\nexcept SystemExit: pass\n"
        assert run_without((), run + report).stderr.strip() == "[]"


def test_the_main_job_without_torch_names_the_extra() -> None:
    code = "from fednas.toolchain.cli import app; app(['--device', 'cpu', '--out', '/nonexistent/shipped'])"
    done = run_without(HEAVY, code)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "pip install 'fednas-export[torch]'" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("fednas-export:")]) == 1
