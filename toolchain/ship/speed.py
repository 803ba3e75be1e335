"""The latency model of one device: the user's table, a table measured on the spot, or a labelled estimate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import Progress
from fednas.latency_tables import LatencyModel, load_latency_model, save_table
from fednas.profiles import DeviceProfile
from fednas.toolchain.latency import doubts_about, latency_model, unfit_remarks
from fednas.toolchain.measure import is_this_machine, profile_space
from fednas.toolchain.space import SearchSpace, distinct_blocks

if TYPE_CHECKING:
    from fednas.toolchain.ship.job import ShipJob

TABLE_FILE = "latency_table.json"
"""In the shipped folder, where the table was measured on the spot."""
MOST_BLOCKS = 400
"""Spaces with more distinct blocks take minutes to measure well: that is `fednas-export profile`'s work."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast networks are on one device, and what is doubtful about it."""

    model: LatencyModel
    doubts: tuple[str, ...]


def speed_of(job: "ShipJob", space: SearchSpace, profile: DeviceProfile, folder: Path, progress: Progress) -> Speed:
    """The best model that can be had for this device; a table measured here is written into ``folder``."""
    here = is_this_machine(profile)
    if job.table is not None or not here or job.profile_seconds == 0:
        model = _given_or_estimated(job, profile)
        return _with_doubts(job, model, doubts_about(model))
    if (blocks := len(distinct_blocks(space))) > MOST_BLOCKS:
        why = f"the search space has {blocks} distinct blocks, too many to measure during an export"
        advice = f"`fednas-export profile --device {profile.name}` measures them, --table uses the result"
        return _with_doubts(job, _given_or_estimated(job, profile), (f"Latency table: {why}; {advice}.",))
    table = profile_space(
        space,
        profile,
        precision=job.judged_precision,
        seconds=job.profile_seconds,
        accept_unfit=True,
        progress=progress,
    )
    path = folder / TABLE_FILE
    save_table(table, path)
    measured = load_latency_model(path)
    return _with_doubts(job, measured, unfit_remarks(measured))


def _with_doubts(job: "ShipJob", model: LatencyModel, doubts: tuple[str, ...]) -> Speed:
    asked, predicted = job.judged_precision, model.identity.precision
    if asked != predicted:
        doubts += (f"Predicted latency: it is that of {predicted}; nothing here predicts {asked}.",)
    return Speed(model, doubts)


def _given_or_estimated(job: "ShipJob", profile: DeviceProfile) -> LatencyModel:
    precision = job.judged_precision
    if job.table is None and precision not in profile.peak_tera_macs_per_s:
        precision = "fp32"
    return latency_model(profile.name, job.table, precision, job.profiles)
