"""Is this machine the device that is to be measured?"""

from fednas.common import FednasError
from fednas.profiles import LOCAL, DeviceProfile, this_machine


def require_this_machine(device: DeviceProfile) -> None:
    """Raise `FednasError` unless readings taken here are readings of ``device``.

    A user's own profile of a CPU device is believed; a built-in one must show in the machine's description.
    """
    if device.name == LOCAL:
        return
    if device.processor != "cpu" or device.runtime != "onnxruntime":
        raise FednasError(
            f"{device.name} runs {device.runtime} on its {device.processor}, which cannot be measured on this machine",
            hint="commands that search price it by an estimate from its datasheet; measuring over ssh is not built yet",
        )
    model = this_machine().model
    if device.origin == "built-in" and _model_words(device) not in model.lower():
        raise FednasError(
            f"this machine is {model}, not {device.name}",
            hint=f"run this command on the {device.title} itself, or use --device {LOCAL} for this machine",
        )


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
    return device.name.removeprefix("intel-").replace("-", " ").lower()
