"""The options of iscsiadm, and how it fails."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass

from iscsim.errors import ConfigError
from iscsim.initiator.exit_codes import IscsiadmExitCode
from iscsim.session.names import parse_portal

__all__ = ["DEFAULT_PORT", "Failed", "Options", "parse"]

DEFAULT_PORT = 3260
_WITH_VALUE = {
    "m": ("mode", "mode"),
    "T": ("targetname", "target_name"),
    "p": ("portal", "portal"),
    "I": ("interface", "interface"),
    "o": ("op", "operation"),
    "n": ("name", "name"),
    "v": ("value", "value"),
    "t": ("type", "type"),
    "r": ("sid", "sid"),
    "P": ("print", "print_level"),
    "L": ("loginall", "login_all"),
    "U": ("logoutall", "logout_all"),
    "d": ("debug", "debug"),
    "H": ("host", "scsi_host"),
    "x": ("index", "index"),
    "A": ("portal_type", "portal_type"),
    "C": ("submode", "submode"),
    "a": ("ip", "ip"),
    "b": ("packetsize", "packet_size"),
    "c": ("count", "count"),
    "i": ("interval", "interval"),
}
_FLAGS = {
    "l": ("login", "login"),
    "u": ("logout", "logout"),
    "R": ("rescan", "rescan"),
    "D": ("discover", "discover"),
    "S": ("show", "show"),
    "s": ("stats", "stats"),
    "k": ("killiscsid", "kill"),
    "W": ("no_wait", "no_wait"),
    "V": ("version", "version"),
    "h": ("help", "help"),
}
_OPERATIONS = ("new", "delete", "update", "show", "nonpersistent", "apply", "applyall")


class Failed(Exception):
    """iscsiadm gives up: lines for standard error, and its exit code."""

    def __init__(self, message: str, exit_code: int, *more: str, prefix: str = "iscsiadm: ") -> None:
        super().__init__(message)
        self.lines = [prefix + line for line in (message, *more) if line]
        self.exit_code = int(exit_code)


@dataclass(slots=True)
class Options:
    """What was asked for; empty where nothing was said."""

    mode: str = ""
    target_name: str = ""
    portal: str = ""
    interface: str = ""
    operation: str = ""
    name: str | None = None
    value: str | None = None
    type: str = ""
    sid: str = ""
    print_level: str = ""
    login_all: str = ""
    logout_all: str = ""
    debug: str = ""
    scsi_host: str = ""
    index: str = ""
    portal_type: str = ""
    submode: str = ""
    ip: str = ""
    packet_size: str = ""
    count: str = ""
    interval: str = ""
    login: bool = False
    logout: bool = False
    rescan: bool = False
    discover: bool = False
    show: bool = False
    stats: bool = False
    kill: bool = False
    no_wait: bool = False
    version: bool = False
    help: bool = False

    @property
    def address(self) -> tuple[str, int | None]:
        """Of the portal: an empty address for none, None for a port that was not said. Raises Failed."""
        if not self.portal:
            return "", None
        text = self.portal.partition(",")[0]
        try:
            address, port = parse_portal(text)
        except ConfigError:
            raise Failed(f"Invalid portal {self.portal}", IscsiadmExitCode.INVAL) from None
        said = text.rpartition("]")[2].count(":") == 1 or (text.count(":") == 1)
        return address, port if said else None

    @property
    def level(self) -> int:
        """The print level; -1 when there is none. Raises Failed."""
        if not self.print_level:
            return -1
        if not self.print_level.isdecimal():
            message = f"Invalid info level {self.print_level}. Try 0 to 3."
            raise Failed(message, IscsiadmExitCode.INVAL)
        return int(self.print_level)


def parse(arguments: Sequence[str]) -> Options:
    """Raises Failed for what iscsiadm does not know."""
    short = "".join(f"{letter}:" for letter in _WITH_VALUE) + "".join(_FLAGS)
    long = [f"{name}=" for name, _ in _WITH_VALUE.values()] + [name for name, _ in _FLAGS.values()]
    try:
        found, rest = getopt.gnu_getopt(list(arguments), short, long)
    except getopt.GetoptError as error:
        raise _not_known(str(error)) from None
    if rest:
        raise Failed(f"unrecognized character '{rest[0][:1]}'", IscsiadmExitCode.INVAL)
    options = Options()
    for name, value in found:
        _set(options, name.lstrip("-"), value)
    if options.operation and options.operation not in _OPERATIONS:
        raise Failed(f"can not recognize operation: '{options.operation}'", IscsiadmExitCode.INVAL)
    return options


def _set(options: Options, name: str, value: str) -> None:
    for table in (_WITH_VALUE, _FLAGS):
        for letter, (long, attribute) in table.items():
            if name in (letter, long):
                setattr(options, attribute, value if table is _WITH_VALUE else True)


def _not_known(message: str) -> Failed:
    text = message
    if "--" not in message:
        letter = message.removeprefix("option -")[:1]
        needs = "option requires an argument" if "requires" in message else "invalid option"
        text = f"{needs} -- '{letter}'"
    failure = Failed("", IscsiadmExitCode.INVAL)
    failure.lines = [f"iscsiadm: {text}", "Try `iscsiadm --help' for more information."]
    return failure
