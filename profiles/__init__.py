"""What a device is."""

from fednas.profiles.catalogue import LOCAL, USER_FOLDER_VARIABLE, find_profile, load_profiles
from fednas.profiles.local_machine import LocalMachine, installed_version, this_machine, usable_threads
from fednas.profiles.profile import EVIDENCE, PRECISIONS, RUNTIMES, DeviceProfile, Figure, TensorRT

__all__ = [
    "EVIDENCE",
    "LOCAL",
    "PRECISIONS",
    "RUNTIMES",
    "USER_FOLDER_VARIABLE",
    "DeviceProfile",
    "Figure",
    "LocalMachine",
    "TensorRT",
    "find_profile",
    "installed_version",
    "load_profiles",
    "this_machine",
    "usable_threads",
]
