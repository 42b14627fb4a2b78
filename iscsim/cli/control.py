"""Asking a running ``iscsim serve --control`` what commands ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from iscsim.cli.errors import EnvironmentFailure
from iscsim.errors import ConfigError, ISCSIError
from iscsim.net.control_client import ControlClient, ControlError, InvalidParameters, default_socket
from iscsim.net.reasons import reason_of

ControlOption = Annotated[
    Path | None,
    typer.Option(
        metavar="SOCKET",
        envvar="ISCSIM_CONTROL",
        help="That of iscsim serve --control; without it that of --control auto.",
        show_envvar=True,
    ),
]


class ControlFailed(ISCSIError):
    """The target did not do what was asked; the message is its own."""


def ask(control: Path | None, method: str, **params: Any) -> Any:
    """Call a method.

    Raises:
        ConfigError: what was asked for is wrong in itself.
        ControlFailed: it did not work.
        EnvironmentFailure: nobody answers.
    """
    path = default_socket() if control is None else control
    try:
        with ControlClient(path) as client:
            return client.call(method, **params)
    except InvalidParameters as error:
        raise ConfigError(str(error)) from None
    except ControlError as error:
        raise ControlFailed(str(error)) from None
    except OSError as error:
        where = "--control auto" if control is None else f"--control {path}"
        other = "; --control or $ISCSIM_CONTROL names another socket" if control is None else ""
        reason = f"no target answers at {path}: {reason_of(error)}"
        raise EnvironmentFailure(f"{reason} (iscsim serve {where} starts one{other})") from error
