"""Is this machine the device that is to be measured?"""

import re

from fednas.common import FednasError
from fednas.export.board.cudart import gpu_name
from fednas.profiles import LOCAL, DeviceProfile, this_machine
from fednas.toolchain.measure.environment import usable_cores


def require_cores(threads: int) -> None:
    """Raise `FednasError` for more threads than cores that this process may use: they would take turns."""
    usable = len(usable_cores())
    if threads > usable:
        cores = "core" if usable == 1 else "cores"
        raise FednasError(
            f"--threads is {threads}; this process may use {usable} {cores}", hint=f"give {usable} or fewer"
        )


def require_this_machine(device: DeviceProfile, *, on_gpu: bool = False) -> None:
    """Raise `FednasError` unless readings taken here are readings of ``device``.

    A user's own profile is believed; a built-in one must show in the description of the machine or of its GPU.

    Args:
        device: what the readings are to be of.
        on_gpu: whether they are taken on this machine's GPU.
    """
    if on_gpu:
        _require_gpu(device)
        return
    if device.name == LOCAL:
        return
    if device.processor != "cpu":
        raise FednasError(
            f"{device.name} runs {device.runtime} on its {device.processor}, which cannot be measured on this machine",
            hint="commands that search price it by an estimate from its datasheet; --over ssh://user@host measures it",
        )
    require_model(device, this_machine().model, where="this machine")


def _require_gpu(device: DeviceProfile) -> None:
    if device.processor != "gpu":
        raise FednasError(
            f"{device.name} is no GPU", hint="give the --device of the GPU, or a runtime of the processor"
        )
    name = gpu_name()
    if name is None:
        hint = "run it where the GPU is, or give --over ssh://user@host"
        raise FednasError(f"no NVIDIA GPU answers here, so this is not {device.name}", hint=hint)
    doubt = doubt_about_board(device, this_machine().model)
    # Whole words: an L40 is no L4.
    words = re.split(r"[^a-z0-9]+", name.lower())
    if device.origin == "built-in" and device.name.startswith("nvidia-") and _model_words(device) not in words:
        doubt = f"its GPU is {name!r}, not {device.title}"
    if doubt:
        hint = "give the right --device; a GPU that is not built in needs a profile of its own (docs/devices.md)"
        raise FednasError(f"this machine is not {device.name}: {doubt}", hint=hint)


def require_model(device: DeviceProfile, model: str, *, where: str) -> None:
    """Raise `FednasError` if ``model``, which is how the machine ``where`` describes itself, is not ``device``.

    A user's own profile is believed, and so is a GPU's: what a machine says of itself names no GPU.
    """
    if device.name == LOCAL or device.origin != "built-in" or device.processor != "cpu":
        return
    if _model_words(device) not in model.lower():
        raise FednasError(
            f"{where} is {model or 'a machine that does not say what it is'}, not {device.name}",
            hint=f"run this command on the {device.title} itself, or use --device {LOCAL} for that machine",
        )


def require_precision(device: DeviceProfile, precision: str) -> None:
    """Raise `FednasError` if ``device`` cannot run networks of this precision."""
    if precision not in device.precisions:
        raise FednasError(
            f"{device.name} cannot run {precision}; it runs {', '.join(device.precisions)}",
            hint="choose another --precision or --device",
        )


def doubt_about_board(device: DeviceProfile, model: str) -> str:
    """What speaks against a board being the built-in Jetson ``device``; empty if nothing does.

    Only a doubt: a carrier board may call itself anything.
    """
    words = _model_words(device).split()
    if device.origin != "built-in" or words[0] != "jetson":
        return ""
    # The memory size of a variant is not in the board's name.
    missing = [word for word in words if not word.endswith("gb") and word not in model.lower()]
    return f"it calls itself {model!r}, which does not look like {device.name}" if missing else ""


def is_this_machine(device: DeviceProfile) -> bool:
    """Whether this machine shows that it is ``device``; a user's own profile is not believed here.

    For jobs that were not asked to measure: the workstation that exports for somebody's board is not the board.
    """
    if device.name == LOCAL:
        return True
    try:
        require_this_machine(device)
    except FednasError:
        return False
    return device.origin == "built-in"


def _model_words(device: DeviceProfile) -> str:
    """How the machine calls itself, such as ``n100`` or ``raspberry pi 5``."""
    return device.name.removeprefix("intel-").removeprefix("nvidia-").replace("-", " ").lower()
