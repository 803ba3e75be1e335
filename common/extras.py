"""Optional packages: what to say when one is missing."""

import importlib
from types import ModuleType

from fednas.common.errors import FednasError


def import_extra(module: str, extra: str, needed_for: str) -> ModuleType:
    """The module of an optional package; raises `FednasError` that names the pip command.

    Args:
        module: what to import, such as ``torch``.
        extra: the extra of this project that brings it.
        needed_for: what the user was about to do, such as ``training``.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        if err.name is None or err.name.split(".")[0] != module.split(".")[0]:
            raise  # installed, but broken: that is another story
        package = module.split(".")[0]
        raise FednasError(
            f"{package} is needed for {needed_for} and is not installed",
            hint=f"pip install 'fednas-export[{extra}]'",
        ) from err
