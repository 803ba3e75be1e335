"""Which devices there are: those of the package, and the user's own from a folder."""

import importlib.resources
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fednas.common import FednasError, read_bytes, unknown_name
from fednas.profiles.files import profiles_from_toml
from fednas.profiles.local_machine import with_local_facts
from fednas.profiles.profile import DeviceProfile

USER_FOLDER_VARIABLE = "FEDNAS_PROFILES"
"""Environment variable that names the user's folder when no option does."""
LOCAL = "cpu"
"""The device that is the machine at hand."""


def load_profiles(user_folder: Path | None = None) -> Mapping[str, DeviceProfile]:
    """Every device by its name: the built-in ones, then the user's ``*.toml``, in order of file name.

    The user's folder is ``user_folder``, or else the one that `USER_FOLDER_VARIABLE` names. A user's device
    cannot take the name or alias of another device: a name must mean the same everywhere.

    Raises `FednasError` for a folder that does not exist and for a file that does not hold, naming both.
    """
    found: dict[str, DeviceProfile] = {}
    for profile in [*_built_in(), *_users(user_folder)]:
        _check_new(profile, found.values())
        found[profile.name] = profile
    return found


def find_profile(name: str, user_folder: Path | None = None) -> DeviceProfile:
    """The device with this name or alias; raises `FednasError` with the nearest names."""
    profiles = load_profiles(user_folder)
    for profile in profiles.values():
        if name == profile.name or name in profile.aliases:
            return profile
    aliases = [alias for profile in profiles.values() for alias in profile.aliases]
    raise unknown_name("device", name, profiles, aliases=aliases, hint="`fednas-export devices` lists them")


def _built_in() -> list[DeviceProfile]:
    """The machine at hand first, then file by file."""
    files = [file for file in importlib.resources.files("fednas.profiles").iterdir() if file.name.endswith(".toml")]
    profiles = []
    for file in sorted(files, key=lambda file: (file.name != "local.toml", file.name.removesuffix(".toml"))):
        profiles += profiles_from_toml(file.read_bytes(), f"device file {file.name}", "built-in")
    return [with_local_facts(profile) if profile.name == LOCAL else profile for profile in profiles]


def _users(folder: Path | None) -> list[DeviceProfile]:
    named = os.environ.get(USER_FOLDER_VARIABLE)
    if folder is None and not named:
        return []
    folder = folder or Path(named or "")
    if not folder.is_dir():
        hint = f"give a folder of device files (option --profiles or variable {USER_FOLDER_VARIABLE})"
        raise FednasError(f"profile folder {folder} is not a folder", hint=hint)
    profiles = []
    for path in sorted(folder.glob("*.toml")):
        profiles += profiles_from_toml(read_bytes(path, "device file"), f"device file {path}", str(path))
    return profiles


def _check_new(profile: DeviceProfile, others: Iterable[DeviceProfile]) -> None:
    names = {profile.name, *profile.aliases}
    for other in others:
        if taken := sorted(names & {other.name, *other.aliases}):
            owner = "a built-in device" if other.origin == "built-in" else f"the device of {other.origin}"
            message = f"device file {profile.origin}, device {profile.name!r}: {taken[0]!r} is the name of {owner}"
            raise FednasError(message, hint="choose another name or alias")
