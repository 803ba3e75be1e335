"""Several device folders: all are put in place or none, and the index says what they hold."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from fednas.common import FednasError, encode_json
from fednas.export import FleetIndex, check_index, read_manifest, staged_fleet


def fill(folders: dict[str, Path], shipped: Path) -> None:
    for folder in folders.values():
        shutil.copytree(shipped, folder, dirs_exist_ok=True)


def make(out: Path, names: list[str], shipped: Path) -> None:
    with staged_fleet(out, names) as folders:
        fill(folders, shipped)


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_one_device_needs_no_index(tmp_path: Path, shipped_once: Path) -> None:
    make(tmp_path / "out", ["a"], shipped_once)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_several_get_an_index(tmp_path: Path, shipped_once: Path) -> None:
    out = tmp_path / "out"
    make(out, ["b", "a"], shipped_once)
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "index.html", "index.json", "index.md"]
    index = msgspec.json.decode((out / "index.json").read_bytes(), type=FleetIndex)
    assert [entry.folder for entry in index.devices] == ["a", "b"]
    entry = index.devices[0]
    assert (entry.status, entry.file, entry.size_bytes) == (
        "verified",
        "model.fp32.onnx",
        (out / "a" / "model.fp32.onnx").stat().st_size,
    )
    text = (out / "index.md").read_text()
    assert "**2 devices: 2 verified**" in text
    assert "| verified | [A board](a/report.html) | `a/model.fp32.onnx` |" in text
    assert "estimate: 2 ms (1 ms to 4 ms) | not measured |" in text
    assert '<a href="b/report.html">A board</a>' in (out / "index.html").read_text()
    assert check_index(out) is None


def test_a_later_device_joins_the_index(tmp_path: Path, shipped_once: Path) -> None:
    out = tmp_path / "out"
    make(out, ["a"], shipped_once)
    make(out, ["b"], shipped_once)
    assert [entry["folder"] for entry in json.loads((out / "index.json").read_text())["devices"]] == ["a", "b"]


def test_same_folders_give_the_same_index(tmp_path: Path, shipped_once: Path) -> None:
    make(tmp_path / "one", ["a", "b"], shipped_once)
    make(tmp_path / "two", ["b", "a"], shipped_once)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_rename_that_fails_in_the_middle_brings_everything_back(
    tmp_path: Path, shipped_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make(out, ["a", "b"], shipped_once)
    before, rename = content(out), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".c.") and self.name.endswith(".tmp"):
            raise PermissionError(13, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(FednasError, match="not writable"):
        make(out, ["a", "b", "c"], shipped_once)
    assert content(out) == before
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "index.html", "index.json", "index.md"]


def test_nothing_is_left_of_a_first_run_that_fails(tmp_path: Path, shipped_once: Path) -> None:
    def interrupted() -> None:
        with staged_fleet(tmp_path / "new" / "out", ["a", "b"]) as folders:
            fill(folders, shipped_once)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["index.html", "index.json", "index.md"])
def test_an_index_of_somebody_else_is_never_overwritten(tmp_path: Path, shipped_once: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(FednasError, match=rf"holds {name}, which fednas-export did not write"):
        make(out, ["a", "b"], shipped_once)
    assert content(out) == {name: b"mine"}


@pytest.mark.parametrize("page", ["index.md", "index.html"])
def test_an_edited_page_of_the_index_is_found(tmp_path: Path, shipped_once: Path, page: str) -> None:
    out = tmp_path / "out"
    make(out, ["a", "b"], shipped_once)
    assert check_index(out) is None
    (out / page).write_text((out / page).read_text().replace("verified", "perfect"))
    assert check_index(out) == f"{page} does not say what index.json says; export again"


def test_an_index_that_lies_is_found(tmp_path: Path, shipped_once: Path) -> None:
    out = tmp_path / "out"
    make(out, ["a", "b"], shipped_once)
    index = json.loads((out / "index.json").read_text())
    index["devices"][0]["size_bytes"] = 1
    (out / "index.json").write_text(json.dumps(index))
    assert check_index(out) == "index.json says something else about a than its manifest; export again"
    shutil.rmtree(out / "a")
    assert check_index(out) == "index.json names the folder 'a', which is not there"


def make_rejected(out: Path, name: str, shipped: Path) -> None:
    with staged_fleet(out, [name]) as folders:
        fill(folders, shipped)
        manifest = msgspec.structs.replace(read_manifest(folders[name]), status="rejected")
        (folders[name] / "manifest.json").write_text(encode_json(manifest))


def test_a_good_export_takes_the_place_of_its_rejected_twin(tmp_path: Path, shipped_once: Path) -> None:
    make(tmp_path, ["a"], shipped_once)
    make_rejected(tmp_path, "a", shipped_once)
    assert (tmp_path / "a.rejected").is_dir()
    make(tmp_path, ["a", "b"], shipped_once)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "index.html", "index.json", "index.md"]
    index = msgspec.json.decode((tmp_path / "index.json").read_bytes(), type=FleetIndex)
    assert [(entry.folder, entry.status) for entry in index.devices] == [("a", "verified"), ("b", "verified")]
    assert check_index(tmp_path) is None


def test_the_twin_stays_where_the_good_export_cannot_be_placed(
    tmp_path: Path, shipped_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, ["a"], shipped_once)
    make_rejected(tmp_path, "a", shipped_once)
    before, rename = content(tmp_path), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp") and target.name == "a":
            raise PermissionError(13, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(FednasError, match="not writable"):
        make(tmp_path, ["a"], shipped_once)
    assert content(tmp_path) == before


def test_a_twin_with_files_of_somebody_else_is_refused(tmp_path: Path, shipped_once: Path) -> None:
    make(tmp_path, ["a"], shipped_once)
    make_rejected(tmp_path, "a", shipped_once)
    (tmp_path / "a.rejected" / "thesis.txt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(FednasError, match=r"holds thesis.txt, which fednas-export did not write"):
        make(tmp_path, ["a"], shipped_once)
    assert content(tmp_path) == before
