"""Data sets as arrays: the forms of ``--data``, their preprocessing and their held-out parts."""

from fednas.export import Preprocessing
from fednas.toolchain.data.images import ImageData, LabelledImages
from fednas.toolchain.data.loading import load_data
from fednas.toolchain.data.preprocessing import (
    ONLY_CENTRED,
    ChannelStatistics,
    channel_statistics,
    measured_preprocessing,
    published_preprocessing,
)
from fednas.toolchain.data.spec import DataKind, DataSpec, parse_data_spec

__all__ = [
    "ONLY_CENTRED",
    "ChannelStatistics",
    "DataKind",
    "DataSpec",
    "ImageData",
    "LabelledImages",
    "Preprocessing",
    "channel_statistics",
    "load_data",
    "measured_preprocessing",
    "parse_data_spec",
    "published_preprocessing",
]
