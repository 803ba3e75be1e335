"""What may stand behind --over ssh://, and what never reaches a command line."""

import pytest

from fednas.common import FednasError
from fednas.toolchain.measure.ssh import SshAddress, check_python, parse_address


@pytest.mark.parametrize(
    ("text", "address", "by_hand"),
    [
        ("ssh://board", SshAddress("board"), "ssh board"),
        ("ssh://me@board.local", SshAddress("board.local", "me"), "ssh me@board.local"),
        ("ssh://me@10.0.0.7:2222", SshAddress("10.0.0.7", "me", 2222), "ssh -p 2222 me@10.0.0.7"),
        ("ssh://me@[fe80::1%eth0]:22", SshAddress("fe80::1%eth0", "me", 22), "ssh -p 22 me@fe80::1%eth0"),
        ("ssh://[::1]", SshAddress("::1"), "ssh ::1"),
    ],
)
def test_addresses(text: str, address: SshAddress, by_hand: str) -> None:
    assert parse_address(text) == address
    assert address.by_hand() == by_hand


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh://", "'' is no host name"),
        ("ssh://me@", "'' is no host name"),
        ("ssh://@board", "'' is no user name"),
        ("ssh://my board", "'my board' is no host name"),
        ("ssh://board;reboot", "'board;reboot' is no host name"),
        ("ssh://$(reboot)", "is no host name"),
        ("ssh://board\nreboot", "is no host name"),
        ("ssh://-oProxyCommand=reboot", "'-oProxyCommand=reboot' is no host name"),
        ("ssh://-l@board", "'-l' is no user name"),
        ("ssh://me me@board", "'me me' is no user name"),
        ("ssh://me@board/home/me", "is no host name"),
        ("ssh://me@board:22/tmp", "'22/tmp' is no port"),
        ("ssh://me@board:0", "'0' is no port"),
        ("ssh://me@board:65536", "'65536' is no port"),
        ("ssh://me@board:", "'' is no port"),
        ("ssh://me@board:٢٢", "is no port"),
        ("ssh://me@[fe80::1", "not of the form"),
        ("ssh://me@[board]", "'board' is no IPv6 address"),
        ("ssh://me@[fe80::1%eth0;reboot]", "'eth0;reboot' is no network interface"),
        ("ssh://a@b@c", "'b@c' is no host name"),
        ("http://board", "not of the form"),
        ("board", "not of the form"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(FednasError, match=message.replace("$", r"\$")):
        parse_address(text)


def test_a_password_is_neither_taken_nor_repeated() -> None:
    with pytest.raises(FednasError, match="an address holds no password") as caught:
        parse_address("ssh://me:secret@board")
    assert "secret" not in str(caught.value)


def test_names_of_files_need_no_care() -> None:
    assert SshAddress("board.local", "me", 2222).label == "board.local-2222"
    assert SshAddress("fe80::1%eth0").label == "fe80__1_eth0"


@pytest.mark.parametrize("python", ["python3", "python3.8", "~/venv/bin/python", "/opt/py-3.9/bin/python3"])
def test_programs_on_the_board(python: str) -> None:
    assert check_python(python) == python


@pytest.mark.parametrize("python", ["", "-c", "python3; reboot", "$(reboot)", "~", "/", "a b", "python3\n"])
def test_what_names_no_program_is_refused(python: str) -> None:
    with pytest.raises(FednasError, match=r"--board-python .* is no program"):
        check_python(python)
