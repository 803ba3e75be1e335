"""Where a board answers: ``ssh://user@host:port``, checked before any of it reaches a command line."""

import ipaddress
import re
from dataclasses import dataclass

from fednas.common import FednasError

SCHEME = "ssh://"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")
_PARTS = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SshAddress:
    """One board. The host may be an alias of the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def label(self) -> str:
        """Tells boards apart in names of files: host and port, without characters that need care."""
        return "-".join(re.sub(r"[^A-Za-z0-9_.-]", "_", str(part)) for part in (self.host, self.port) if part)

    @property
    def remote(self) -> str:
        """The host as scp has it before a colon."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def by_hand(self, command: str = "") -> str:
        """The command line with which the user does the same by hand."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self}{f' {command}' if command else ''}"


def parse_address(text: str) -> SshAddress:
    """The address in ``ssh://[user@]host[:port]``; raises `FednasError` for anything else.

    An IPv6 host stands in brackets. Names that a command line could take for something else are refused.
    """
    match = _PARTS.fullmatch(text.removeprefix(SCHEME)) if text.startswith(SCHEME) else None
    if match is None:
        raise _refused(text, "it is not of the form ssh://[user@]host[:port]")
    user, host, port = match["user"], match["host"], match["port"]
    if user is not None and ":" in user:
        raise FednasError(
            "--over ssh://...: an address holds no password",
            hint="log in with a key: ssh-copy-id puts yours on the board",
        )
    if user is not None and not _USER.fullmatch(user):
        raise _refused(text, f"{user!r} is no user name")
    if host.startswith("["):
        host = _ipv6(text, host[1:-1])
    elif not _HOST.fullmatch(host):
        raise _refused(text, f"{host!r} is no host name")
    return SshAddress(host, user, None if port is None else _port(text, port))


def _ipv6(text: str, host: str) -> str:
    address, percent, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError as err:
        raise _refused(text, f"{host!r} is no IPv6 address") from err
    if percent and not _ZONE.fullmatch(zone):
        raise _refused(text, f"{zone!r} is no network interface")
    return host


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _refused(text, f"{port!r} is no port (1 to 65535; a path cannot be given)")
    return int(port)


def _refused(text: str, reason: str) -> FednasError:
    return FednasError(
        f"--over {text!r}: {reason}", hint="such as ssh://me@board.local or ssh://me@[fe80::1%eth0]:2222"
    )
