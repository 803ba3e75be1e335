"""Every source of images gives the same kind of data, or one clear line."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fednas.common import FednasError
from fednas.toolchain.data import ImageData, Preprocessing, load_data, parse_data_spec
from fednas.toolchain.data.split import stratified_split


def load(text: str, *, channels: int | None = None, side: int | None = None) -> ImageData:
    return load_data(parse_data_spec(text), channels=channels, side=side)


def test_digits_are_cut_by_class_and_the_same_for_ever() -> None:
    data = load("digits")
    assert [len(data.train), len(data.validation), len(data.test)] == [1078, 269, 450]
    assert data.train.images.shape[1:] == (1, 8, 8)
    assert data.train.images.dtype == np.uint8
    assert data.preprocessing.value_range_max == 16.0
    for part in (data.train, data.validation, data.test):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= 6
    # Some facts of the parts, so that another version of a library cannot change the split unnoticed.
    assert data.test.labels[:12].tolist() == [4, 6, 8, 9, 3, 6, 0, 1, 5, 6, 7, 7]
    assert int(data.test.images.sum(dtype=np.int64)) == 140170
    assert int(data.train.images.sum(dtype=np.int64)) == 337280


def test_preprocessing_centres_the_training_images() -> None:
    data = load("digits")
    prepared = data.preprocessing.apply(data.train.images)
    assert prepared.dtype == np.float32
    assert abs(float(prepared.mean())) < 1e-4
    assert float(prepared.std()) == pytest.approx(1.0, abs=1e-4)


def test_preprocessing_is_worked_by_hand_for_each_channel() -> None:
    own = Preprocessing(channels=2, height=1, width=1, value_range_max=10.0, mean=(0.5, 0.0), std=(0.25, 2.0))
    raw = np.array([[[[10]], [[4]]]], dtype=np.uint8)
    assert own.apply(raw).ravel().tolist() == pytest.approx([(1.0 - 0.5) / 0.25, 0.4 / 2.0])
    with pytest.raises(FednasError, match="one mean and one positive std for each channel"):
        Preprocessing(channels=2, height=1, width=1, value_range_max=1.0, mean=(0.5,), std=(1.0, 1.0))


def test_parts_of_a_split_share_nothing_and_lose_nothing() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 5])
    first, second, rest = stratified_split(labels, (0.2, 0.4))
    assert sorted([*first, *second, *rest]) == list(range(35))
    assert np.bincount(labels[first]).tolist() == [2, 4, 1]
    assert np.bincount(labels[second]).tolist() == [4, 8, 2]


# --- npz ----------------------------------------------------------------------------------------


def npz_file(path: Path, **changes: object) -> Path:
    generator = np.random.default_rng(0)
    arrays: dict[str, object] = {
        "x_train": generator.integers(0, 256, (40, 6, 5, 3)).astype(np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": generator.integers(0, 256, (8, 6, 5, 3)).astype(np.uint8),
        "y_test": np.arange(8) % 4,
    }
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return path


def test_npz_layouts_are_recognised(tmp_path: Path) -> None:
    path = npz_file(tmp_path / "a.npz")
    data = load(f"npz:{path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 8)
    assert data.class_names == ("0", "1", "2", "3")
    with np.load(path) as raw:
        assert np.array_equal(data.test.images, raw["x_test"].transpose(0, 3, 1, 2))
    first = npz_file(
        tmp_path / "b.npz",
        x_train=np.zeros((40, 3, 6, 5), np.uint8),
        x_test=np.zeros((8, 3, 6, 5), np.uint8),
    )
    assert load(f"npz:{first}").test.images.shape == (8, 3, 6, 5)
    grey = npz_file(tmp_path / "c.npz", x_train=np.zeros((40, 6, 5), np.uint8), x_test=np.zeros((8, 6, 5), np.uint8))
    assert load(f"npz:{grey}").test.images.shape == (8, 1, 6, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None}, "lacks x_test, y_test; it holds x_train, y_train; save it with"),
        ({"x_train": np.zeros((40, 6, 5, 3), np.float32)}, "x_train .* is float32; raw images of type uint8"),
        ({"x_train": np.zeros((40, 6, 5, 4), np.uint8)}, r"x_train .* has shape \(40, 6, 5, 4\); give N x channels"),
        ({"x_train": np.zeros((39, 6, 5, 3), np.uint8)}, "39 images in x_train but 40 labels in y_train"),
        ({"y_train": np.zeros(40)}, "y_train .* is float64 .*must be whole numbers"),
        ({"y_train": np.arange(40) % 4 - 1}, "labels of .* run from -1 to 3|labels of .* run from -1"),
        (
            {"x_test": np.zeros((8, 7, 5, 3), np.uint8)},
            r"test images of a have shape \(3, 7, 5\).*\(3, 6, 5\) is needed",
        ),
        ({"y_train": np.full(40, 2**32 - 1, np.uint32)}, "labels up to 4294967295 for 48 images; number the classes"),
        ({"x_test": np.array([object()])}, "is not a readable .npz file of plain arrays"),
        ({"x_test": np.zeros((0, 6, 5, 3), np.uint8), "y_test": np.zeros(0, int)}, "40 training and 0 test images"),
    ],
)
def test_bad_npz_files_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = npz_file(tmp_path / "a.npz", **changes)
    with pytest.raises(FednasError, match=message):
        load(f"npz:{path}")


def test_missing_and_damaged_npz_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"data file .*no.npz does not exist"):
        load(f"npz:{tmp_path / 'no.npz'}")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(npz_file(tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(FednasError, match=r"is not a readable .npz file"):
        load(f"npz:{bad}")
    bad.write_bytes(b"")
    with pytest.raises(FednasError, match=r"is not a readable .npz file"):
        load(f"npz:{bad}")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(FednasError, match=r"is not a readable .npz file"):
        load(f"npz:{tmp_path / 'one.npz'}")


# --- folders ------------------------------------------------------------------------------------


def picture_folder(folder: Path, parts: tuple[str, ...] = ("train", "test"), size: tuple[int, int] = (7, 7)) -> Path:
    for part in parts:
        for index, name in enumerate(("cat", "dog")):
            (folder / part / name).mkdir(parents=True)
            for k in range(12):
                colour = (200 * index, 10 * k, 0)
                Image.new("RGB", size, colour).save(folder / part / name / f"{k}.png")
    return folder


def test_an_image_folder_is_read_into_memory(tmp_path: Path) -> None:
    data = load(f"folder:{picture_folder(tmp_path)}")
    assert data.class_names == ("cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (22, 2, 24)
    assert data.test.images.shape == (24, 3, 7, 7)
    dog = data.test.images[data.test.labels == 1]
    assert (dog[:, 0] == 200).all()


def test_folders_are_converted_to_what_the_network_reads(tmp_path: Path) -> None:
    data = load(f"folder:{picture_folder(tmp_path)}", channels=1, side=4)
    assert data.train.images.shape[1:] == (1, 4, 4)


def test_cinic10_brings_its_own_validation_images(tmp_path: Path) -> None:
    data = load(f"cinic10:{picture_folder(tmp_path, ('train', 'valid', 'test'), (32, 32))}", channels=3, side=32)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 24, 24)
    assert data.preprocessing.mean[0] == pytest.approx(0.47889522)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"data folder .*train does not exist; check the path"):
        load(f"folder:{tmp_path / 'no'}")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(FednasError, match=r"holds no class folders with images.*; lay it out as train/CLASS"):
        load(f"folder:{tmp_path / 'empty'}")
    mixed = picture_folder(tmp_path / "mixed")
    Image.new("RGB", (9, 9)).save(mixed / "train" / "cat" / "0.png")
    with pytest.raises(FednasError, match=r"holds images of 2 shapes, such as .*bring them to one size"):
        load(f"folder:{mixed}")
    (mixed / "train" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(FednasError, match=r"0.png cannot be read as an image"):
        load(f"folder:{mixed}")
    other = picture_folder(tmp_path / "other")
    (other / "test" / "dog").rename(other / "test" / "fox")
    with pytest.raises(FednasError, match=r"has other classes than its neighbour train/ \(not in both: dog, fox\)"):
        load(f"folder:{other}")


# --- CIFAR --------------------------------------------------------------------------------------


def test_cifar_folders_that_hold_no_cifar_are_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"data folder .*no does not exist"):
        load(f"cifar10:{tmp_path / 'no'}")
    for name, inside in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        does_not = f"folder {tmp_path} does not hold {name} in torchvision's layout: "
        then = f", and nothing is downloaded; unpack the official python archive of {name} there$"
        with pytest.raises(FednasError, match=f"{does_not}{tmp_path / inside} is not there{then}"):
            load(f"{name}:{tmp_path}")
        (tmp_path / inside).mkdir()
        with pytest.raises(FednasError, match=f"{does_not}files of {tmp_path / inside} are missing or damaged{then}"):
            load(f"{name}:{tmp_path}")


def test_cifar10_in_torchvisions_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets as datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = np.full((20, 3 * 32 * 32), index, dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [k % 10 for k in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {k}" for k in range(10)]}))
    # The files are ours, so torchvision's checksums of the real ones cannot hold.
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda _self: True)
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_args: True)
    data = load(f"cifar10:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 10, 20)
    assert data.test.images.shape == (20, 3, 32, 32)
    assert (data.test.images == 5).all()
    assert data.class_names[3] == "class 3"
    assert data.preprocessing.std == pytest.approx((0.24703233, 0.24348505, 0.26158768))


def test_images_brighter_than_the_network_knows_are_refused(tmp_path: Path) -> None:
    data = load(f"npz:{npz_file(tmp_path / 'a.npz')}")
    narrow = Preprocessing(
        channels=3, height=6, width=5, value_range_max=16.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    with pytest.raises(FednasError, match=r"has pixels up to 255, but the network was trained on pixels from 0 to 16"):
        data.with_preprocessing(narrow)
