"""Measuring on boards over SSH, with the system's ssh and scp and the kit for boards without a network."""

from fednas.toolchain.measure.ssh.address import SCHEME, SshAddress, parse_address
from fednas.toolchain.measure.ssh.board import DEFAULT_PYTHON, check_python
from fednas.toolchain.measure.ssh.boards import Outcome, Places, collect_from_boards
from fednas.toolchain.measure.ssh.collect import collect_over_ssh
from fednas.toolchain.measure.ssh.insist import Patience
from fednas.toolchain.measure.ssh.link import CONFIG_VARIABLE

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_PYTHON",
    "SCHEME",
    "Outcome",
    "Patience",
    "Places",
    "SshAddress",
    "check_python",
    "collect_from_boards",
    "collect_over_ssh",
    "parse_address",
]
