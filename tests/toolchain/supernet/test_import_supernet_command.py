"""``import-supernet`` turns a published checkpoint into a file of ours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fednas.common import FednasError
from fednas.toolchain.cli.import_supernet import import_supernet
from fednas.toolchain.supernet import open_supernet, read_supernet_header


def test_the_import_keeps_every_weight(shared_data: Path, tmp_path: Path) -> None:
    checkpoint = shared_data / "reference" / "supernet-small.pt"
    out = tmp_path / "small.safetensors"
    import_supernet(checkpoint, out, dataset="cifar10")
    ours, theirs = open_supernet(out), open_supernet(checkpoint)
    assert ours.header.space == theirs.header.space
    preprocessing = read_supernet_header(out).preprocessing
    assert preprocessing is not None
    assert preprocessing.mean == (0.49139968, 0.48215827, 0.44653124)
    a, b = ours.supernet.state_dict(), theirs.supernet.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in b)
    x = torch.from_numpy(np.load(checkpoint.with_name("supernet-small-logits.npz"))["x"])
    with torch.no_grad():
        assert torch.equal(ours.supernet(x), theirs.supernet(x))


def test_wrong_names_are_refused(shared_data: Path, tmp_path: Path) -> None:
    checkpoint = shared_data / "reference" / "supernet-small.pt"
    with pytest.raises(FednasError, match="unknown data set 'cifar'; did you mean cifar10"):
        import_supernet(checkpoint, tmp_path / "a.safetensors", dataset="cifar")
    with pytest.raises(FednasError, match=r"must end in .safetensors; write .*a.safetensors"):
        import_supernet(checkpoint, tmp_path / "a.pt")
    with pytest.raises(FednasError, match=r"does not end in .pt"):
        import_supernet(tmp_path / "a.onnx", tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
