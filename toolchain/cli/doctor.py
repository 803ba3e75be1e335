"""``doctor``: what is installed, and what each device path can do here."""

import textwrap
from typing import TYPE_CHECKING

from fednas.toolchain.cli.options import ProfilesOption
from fednas.toolchain.cli.output import WIDTH, emit, table

if TYPE_CHECKING:
    from fednas.toolchain.doctor import Diagnosis, MachineState


def doctor(profiles: ProfilesOption = None) -> None:
    """Say what is installed, what each device path can and cannot do here, and why."""
    from fednas.toolchain.doctor import diagnose

    diagnosis = diagnose(profiles)
    emit(diagnosis, doctor_text(diagnosis))


def doctor_text(diagnosis: "Diagnosis") -> str:
    """Packages, the machine and the devices, as tables."""
    packages = [
        (p.name, p.extra or "always", p.wanted or "any", p.version or "not installed") for p in diagnosis.packages
    ]
    runtimes = [(r.name, _yes(r.can_run), " ".join(r.precisions), r.why_not or r.evidence) for r in diagnosis.runtimes]
    devices = [(d.device, _yes(d.export), _yes(d.engine), _yes(d.measure), d.why) for d in diagnosis.devices]
    parts = [
        f"fednas-export {diagnosis.version}, Python {diagnosis.python}, {diagnosis.platform}",
        table(packages, ("package", "for", "wanted", "installed")),
        table(_machine_rows(diagnosis), ("this machine", "")),
        "\n".join(textwrap.fill(sentence, WIDTH) for sentence in diagnosis.tensorrt),
        table(runtimes, ("runtime", "times models here", "precisions", "why not, or what of it was tried")),
        table(devices, ("device", "export", "engine", "measure", "what is missing here")),
    ]
    return "\n\n".join(parts)


def _machine_rows(diagnosis: "Diagnosis") -> list[tuple[str, str]]:
    machine, gpu = diagnosis.machine, diagnosis.gpu
    return [
        ("processor", machine.processor),
        ("threads usable", _threads(machine)),
        ("clock governor", machine.governor or "not readable: clock changes cannot be seen"),
        ("highest clock", f"{machine.max_mhz:.0f} MHz" if machine.max_mhz else "not readable"),
        ("load", "not readable" if machine.load is None else f"{machine.load:.2f} running, on average"),
        ("NVIDIA GPU", f"{gpu.name}, capability {gpu.compute_capability}" if gpu.name else "none that answers"),
        ("ssh and scp", "here" if diagnosis.ssh else "missing: no profile --over ssh://; install the OpenSSH client"),
        ("embedded supernet", diagnosis.embedded_supernet or "missing: give --supernet"),
    ]


def _threads(machine: "MachineState") -> str:
    text = f"{machine.threads} of {machine.threads_in_all}"
    return text if machine.cpu_quota is None else f"{text}, limited to {machine.cpu_quota:g} processors' time"


def _yes(possible: bool | None) -> str:
    return "not needed" if possible is None else ("yes" if possible else "no")
