"""How long does an export take, from the command's own steps, once torch is imported?

    python benchmarks/export_speed.py [--macs 50M] [--device jetson] [--supernet FILE --data SPEC]

By default a supernet with random weights over 32 x 32 colour images, and random images: speed depends on neither, but
logits of such a network may leave the int8 tolerance, so the verdict says nothing. Printed are the seconds of the main
job for fp32 alone, and for fp32 and int8 with 512 calibration images, step by step. Nothing is measured on the device.
Run it on a quiet machine; each job is run ``--rounds`` times and the fastest is shown beside the slowest.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401 - imported before the clock starts, as torch is
import torch

from fednas.common import convert, parse_count
from fednas.export import Precision
from fednas.profiles import find_profile
from fednas.toolchain.search.request import Budgets
from fednas.toolchain.ship import ShipJob, ship
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.supernet import ElasticSupernet, SupernetHeader, save_supernet

SPACE = {
    "num_stages": 4,
    "max_extra_blocks_per_stage": 3,
    "original_stem_out_channels": 32,
    "original_stage_base_channels": [64, 128, 256, 512],
    "initial_input_hw": 32,
    "initial_input_channels": 3,
    "stem_stride": 1,
    "stage_downsample_factors": [1, 2, 2, 2],
    "channel_divisible_by": 8,
    "n_classes": 10,
    "width_multiplier_choices": [0.4, 0.6, 0.8, 1.0],
    "expansion_ratio_choices": [0.25, 0.5],
}
TRAINING_IMAGES, TEST_IMAGES = 3000, 2000
ONE_CLASS_LOGIT = 100.0
"""Added to that of class 0: more than anything that random weights give another class."""


def random_supernet(folder: Path) -> tuple[Path, str]:
    """A supernet file and a data set with random content.

    The main job refuses a subnet that guesses. So this one always answers with one class, which three images in five
    are said to be of.
    """
    space = convert(SPACE, SearchSpace, "the benchmark's search space")
    torch.manual_seed(0)
    header = SupernetHeader(space=space, dataset="random", class_names=tuple(str(i) for i in range(10)))
    supernet = ElasticSupernet(space)
    with torch.no_grad():
        supernet.head.bias[0] = ONE_CLASS_LOGIT
    save_supernet(folder / "supernet.safetensors", supernet, header)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", TRAINING_IMAGES), ("test", TEST_IMAGES)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.where(np.arange(count) % 5 < 3, 0, np.arange(count) % 10)
    np.savez(folder / "images.npz", **arrays)
    return folder / "supernet.safetensors", f"npz:{folder / 'images.npz'}"


def timed(job: ShipJob) -> tuple[float, list[tuple[str, float]]]:
    """Seconds of the whole job, and of each of its steps."""
    marks: list[tuple[str, float]] = []

    def progress(_done: float, _whole: float, what: str = "") -> None:
        if not marks or marks[-1][0] != what:
            marks.append((what, time.perf_counter()))

    start = time.perf_counter()
    ship(job, progress)
    end = time.perf_counter()
    ends = [*(at for _, at in marks[1:]), end]
    return end - start, [(what, until - at) for (what, at), until in zip(marks, ends, strict=True)]


def main() -> None:
    """Run the jobs and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macs", default="50M")
    parser.add_argument("--device", default="jetson")
    parser.add_argument("--supernet", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch; ONNX Runtime has one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads of torch, {options.macs} MACs, {TEST_IMAGES} test images")
    jobs: list[tuple[Precision, ...]] = [("fp32",), ("fp32", "int8")]
    with tempfile.TemporaryDirectory() as folder:
        supernet, data = options.supernet, options.data
        if supernet is None:
            supernet, data = random_supernet(Path(folder))
        for precisions in jobs:
            results = []
            for i in range(options.rounds):
                job = ShipJob(
                    devices={options.device: find_profile(options.device)},
                    supernet=supernet,
                    budgets=Budgets(macs=parse_count(options.macs, "--macs")),
                    precisions=precisions,
                    data=data,
                    out=Path(folder) / f"{'-'.join(precisions)}-{i}",
                    profile_seconds=0.0,
                )
                results.append(timed(job))
            seconds = sorted(total for total, _ in results)
            print(f"{', '.join(precisions)}: {seconds[0]:.1f} s ({seconds[0]:.1f} to {seconds[-1]:.1f} s)")
            for what, step in min(results)[1]:
                print(f"    {step:6.2f} s  {what}")


if __name__ == "__main__":
    main()
