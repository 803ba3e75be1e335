"""Supernet files: what is written is read, and what is broken is refused in one line."""

import errno
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from fednas.common import FednasError
from fednas.toolchain.data import Preprocessing
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import load_space, smallest_architecture
from fednas.toolchain.supernet import (
    ElasticSupernet,
    SupernetHeader,
    extract_subnet,
    load_supernet,
    open_supernet,
    read_supernet_header,
    save_supernet,
)

SPACE = msgspec.structs.replace(
    load_space(embedded_space_path()),
    original_stem_out_channels=16,
    original_stage_base_channels=(16, 16, 16, 16),
    max_extra_blocks_per_stage=0,
)
HEADER = SupernetHeader(
    space=SPACE,
    dataset="digits",
    class_names=tuple("0123456789"),
    preprocessing=Preprocessing(channels=1, height=8, width=8, value_range_max=16.0, mean=(0.3,), std=(0.4,)),
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_supernet(path, ElasticSupernet(SPACE), HEADER)
    return path


def test_round_trip_keeps_weights_and_header(saved: Path) -> None:
    torch.manual_seed(0)
    original = ElasticSupernet(SPACE).eval()
    loaded = load_supernet(saved)
    assert loaded.header == HEADER == read_supernet_header(saved)
    assert not loaded.supernet.training
    arch, x = smallest_architecture(SPACE), torch.ones(1, 1, 8, 8)
    assert torch.equal(extract_subnet(loaded.supernet, arch)(x), extract_subnet(original, arch)(x))


def test_the_header_is_read_without_torch(saved: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from fednas.toolchain.supernet import read_supernet_header\n"
        "print(read_supernet_header(Path(sys.argv[1])).dataset)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert result.stdout == "digits\n"


def test_without_torch_the_weights_ask_for_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from fednas.common import FednasError\n"
        "try:\n    from fednas.toolchain.supernet import open_supernet\n"
        "except FednasError as err:\n    print(err)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch is needed" in result.stdout
    assert "pip install 'fednas-export[torch]'" in result.stdout


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_named(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    for read in (open_supernet, read_supernet_header):
        with pytest.raises(FednasError, match=r"truncated|is empty|not a readable supernet file"):
            read(saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("no.safetensors", "no.pt"):
        with pytest.raises(FednasError, match=f"supernet .*{name} does not exist; check the path"):
            open_supernet(tmp_path / name)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(FednasError, match="is a safetensors file, but not a supernet of this project"):
        open_supernet(path)
    text = tmp_path / "text.safetensors"
    text.write_text("hello world, this is no supernet")
    with pytest.raises(FednasError, match="not a readable supernet file"):
        open_supernet(text)


def rewritten(path: Path, change: dict[str, torch.Tensor | None]) -> None:
    tensors = {**load_file(path), **change}
    save_file({n: t for n, t in tensors.items() if t is not None}, path, HEADER.to_metadata())


def test_missing_unknown_misshapen_and_nan_tensors_are_named(saved: Path) -> None:
    cases: list[tuple[dict[str, torch.Tensor | None], str]] = [
        ({"stem.conv.weight": None}, r"lacks tensor stem.conv.weight; the weights belong to another"),
        ({"stem.conv.bias": torch.ones(1)}, r"has unknown tensor stem.conv.bias"),
        ({"head.bias": torch.ones(3)}, r"tensor head.bias has shape \(3,\), its search space needs \(10,\)"),
        ({"head.bias": torch.full((10,), float("nan"))}, r"tensor head.bias holds values that are not finite"),
    ]
    good = saved.read_bytes()
    for change, message in cases:
        saved.write_bytes(good)
        rewritten(saved, change)
        with pytest.raises(FednasError, match=message):
            open_supernet(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"class_names": [', '"class_names": ["eleventh",', "names 11 classes, but its search space has 10"),
        ('"schema": 1', '"schema": 9', "schema 9, this version reads schema 1"),
        ('"dataset": "digits"', '"dataset": "digits", "colour": 1', "unknown key 'colour'"),
    ],
)
def test_a_header_that_this_version_does_not_understand_is_refused(
    saved: Path, old: str, new: str, message: str
) -> None:
    changed = HEADER.to_metadata()["header"].replace(old, new)
    save_file(load_file(saved), saved, {"format": "fednas-supernet", "header": changed})
    with pytest.raises(FednasError, match=message):
        read_supernet_header(saved)


def test_a_full_disk_is_one_line_and_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FednasError, match=r"disk full while writing .*net.safetensors; nothing was left half written"):
        save_supernet(saved, ElasticSupernet(SPACE), HEADER)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["net.safetensors"]


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"folder .*no does not exist; create it"):
        save_supernet(tmp_path / "no" / "net.safetensors", ElasticSupernet(SPACE), HEADER)
