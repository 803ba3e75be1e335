"""Published .pt checkpoints: the reference logits, and nothing in a file is ever executed."""

import collections
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fednas.common import FednasError
from fednas.toolchain.space import architecture_from_genes, load_space
from fednas.toolchain.supernet import extract_subnet, open_supernet, read_supernet_header
from fednas.toolchain.supernet.torch_file import plain, read_torch_file


@pytest.fixture
def checkpoint(shared_data: Path) -> Path:
    return shared_data / "reference" / "supernet-small.pt"


def test_published_logits_are_matched(checkpoint: Path) -> None:
    loaded = open_supernet(checkpoint)
    reference = np.load(checkpoint.with_name("supernet-small-logits.npz"))
    x = torch.from_numpy(reference["x"])
    for genes, expected in zip(json.loads(str(reference["archs"])), reference["extracted_logits"], strict=True):
        arch = architecture_from_genes(loaded.header.space, genes["d"], genes["e"], genes["w_indices"])
        loaded.supernet.set_active(arch)
        with torch.no_grad():
            assert np.abs(extract_subnet(loaded.supernet, arch)(x).numpy() - expected).max() < 1e-4
            assert np.abs(loaded.supernet(x).numpy() - expected).max() < 1e-4


def test_the_header_holds_the_space_and_dead_projections_are_dropped(checkpoint: Path) -> None:
    header = read_supernet_header(checkpoint)
    assert header.space == load_space(checkpoint.with_name("space-small.json"))
    assert header.preprocessing is None
    names = open_supernet(checkpoint).supernet.state_dict().keys()
    assert {n.split(".projection")[0] for n in names if "projection" in n} == {f"stages.{j}.0" for j in range(4)}


def resaved(checkpoint: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = torch.load(checkpoint, weights_only=False)
    change(content)
    torch.save(content, path)
    return path


def test_identity_batch_norms_become_none_and_the_function_stays(checkpoint: Path, tmp_path: Path) -> None:
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}

    def as_published_runs_leave_them(content: dict[str, Any]) -> None:
        for name, tensor in content["params"].items():
            if ".bn." in name and name.rpartition(".")[2] in values:
                tensor.fill_(values[name.rpartition(".")[2]])

    changed = resaved(checkpoint, tmp_path / "off.pt", as_published_runs_leave_them)
    loaded = open_supernet(changed)
    assert loaded.header.space.normalization == "none"
    original = torch.load(changed, weights_only=False)["params"]["input_stem.0.conv.conv.weight"]
    found = loaded.supernet.state_dict()["stem.conv.weight"]
    torch.testing.assert_close(found, original / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["params"].pop("classifier.linear.linear.bias"), "lacks tensor head.bias"),
        (lambda c: c["params"].pop("blocks.3.downsample.conv.conv.weight"), r"lacks tensor stages.1.0.projection"),
        (lambda c: c["params"].update(more=torch.ones(1)), "has unknown tensor more"),
        (lambda c: c["params"]["classifier.linear.linear.bias"].fill_(float("nan")), "head.bias .*not finite"),
        (lambda c: c["arch_params"].update(n_classes=12), r"head.\w+ has shape .*10.*needs .*12"),
        (lambda c: c["arch_params"].update(channel_divisible_by=4), "no usable search space .*channel_divisible_by"),
        (lambda c: c["arch_params"].update(num_stages="four"), "no usable search space in arch_params: Expected int"),
        (lambda c: c.pop("params"), "lacks params: it is no DeepFedNAS checkpoint"),
        (lambda c: c.pop("arch_params"), "lacks arch_params: it is no DeepFedNAS checkpoint"),
        (lambda c: c["params"].update({"stem": 3}), "holds no tensor under stem"),
    ],
)
def test_a_checkpoint_of_another_space_is_refused(
    checkpoint: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(FednasError, match=message):
        open_supernet(resaved(checkpoint, tmp_path / "changed.pt", change))


def test_a_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.pt"
    path.write_bytes(checkpoint.read_bytes()[:5_000_000])
    for read in (open_supernet, read_supernet_header):
        with pytest.raises(FednasError, match=r"(truncated or damaged|is empty) .*copy it again"):
            read(path)


# --- hostile and foreign files; these need no reference data -----------------------------------


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        import os

        return os.system, (f"touch {self.target}",)


def archive_of(path: Path, pickled: bytes, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        for name, content in entries.items():
            archive.writestr(f"net/data/{name.lstrip('_')}", content)
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "executed"
    pickled = pickle.dumps({"params": Hostile(target)}, protocol=protocol)
    path = archive_of(tmp_path / "evil.pt", pickled)
    for read in (open_supernet, read_supernet_header):
        with pytest.raises(FednasError, match=r"asks for (posix|nt)\.system, .*; nothing in it was executed"):
            read(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ({"a": {1, 2}}, r"builtins.set|__builtin__.set|EMPTY_SET"),
        ({"a": np.array([object], dtype=object)}, r"numpy type O8|an array of Python objects"),
        ({"a": collections.Counter("aa")}, "collections.Counter"),
        ({"a": Path("x")}, "pathlib"),
        ({"a": print}, "REDUCE|print|has none|BUILD"),
    ],
)
def test_anything_but_data_is_refused_or_inert(tmp_path: Path, value: object, refused: str) -> None:
    path = archive_of(tmp_path / "odd.pt", pickle.dumps(value, protocol=2))
    if value == {"a": print}:  # a bare mention of a name is not a call: it stays an inert word
        assert "print" in repr(read_torch_file(path))
        return
    with pytest.raises(FednasError, match=refused):
        read_torch_file(path)


def test_plain_values_numpy_scalars_and_arrays_are_read(tmp_path: Path) -> None:
    value = {
        "scalar": np.float64(2.5),
        "whole": np.int64(-3),
        "flag": True,
        "array": np.arange(6, dtype=np.int32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "rng": np.random.RandomState(0).get_state(),
        "nested": [(1, 2), None, {"x": "text"}, 10**20],
        "tensor": torch.arange(6).reshape(2, 3).t(),
    }
    path = tmp_path / "plain.pt"
    torch.save(value, path)
    found = read_torch_file(path)
    assert (found["scalar"], found["whole"], found["flag"]) == (2.5, -3, True)
    assert plain(found["array"]) == [[0, 1, 2], [3, 4, 5]]
    assert plain(found["columns"]) == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert plain(found["rng"])[1] == np.random.RandomState(0).get_state()[1].tolist()
    assert found["nested"] == [(1, 2), None, {"x": "text"}, 10**20]
    assert found["tensor"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.pt"
    torch.save({"t": torch.arange(6.0)}, path)
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        pickled = archive.read(name).replace(b"K\x06\x85", b"K\x09\x85")
    bad = archive_of(tmp_path / "bad.pt", pickled, _0=torch.arange(6.0).numpy().tobytes())
    with pytest.raises(FednasError, match=r"is damaged .*beyond its storage"):
        read_torch_file(bad)


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.pt"
    old.write_bytes(pickle.dumps({"params": {}}))
    with pytest.raises(FednasError, match=r"is a bare pickle|is not a torch checkpoint"):
        open_supernet(old)
    other = tmp_path / "zip.pt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FednasError, match="is a zip file, but not a torch checkpoint"):
        open_supernet(other)
    short = archive_of(tmp_path / "short.pt", pickle.dumps({"a": [1, 2]}, protocol=2)[:-3])
    with pytest.raises(FednasError, match="is damaged"):
        open_supernet(short)


def test_a_compressed_entry_and_a_list_within_itself_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(FednasError, match=r"is damaged \(entry data.pkl is compressed\)"):
        read_torch_file(path)
    endless: list[object] = []
    endless.append(endless)
    content = {"params": {}, "arch_params": {"num_stages": endless}}
    with pytest.raises(FednasError, match="no usable search space in arch_params"):
        open_supernet(archive_of(tmp_path / "endless.pt", pickle.dumps(content, protocol=2)))
