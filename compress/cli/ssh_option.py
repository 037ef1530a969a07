"""The option `--ssh USER@HOST`: the profile of a machine that has none yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.config.devices import Device

SshHost = Annotated[
    str | None,
    typer.Option("--ssh", metavar="USER@HOST", help="Measure there; its profile is written to devices/, to be named and kept."),
]
SshPython = Annotated[
    str | None, typer.Option(metavar="PATH", help="Python on that machine with the packages of the runtimes.")
]
HOST = "host"


def chosen_profiles(devices: str, ssh: str | None, python: str | None) -> list[Device]:
    """Profiles of the options; that of an SSH host takes the place of the default one.

    Args:
        devices: Comma-separated names of profiles.
        ssh: Host of `--ssh`.
        python: Python of `--ssh-python`.

    Raises:
        CompressError: A profile is unknown, or the host cannot be reached.
    """
    from compress.cli.common import echo
    from compress.config.devices import load_device

    if ssh is None:
        return [load_device(name.strip()) for name in devices.split(",")]
    from compress.profile.remote.detected_profile import detected_profile

    device, path = detected_profile(ssh, python=python)
    echo(gettext("profile of {ssh}: {path}; rename the file and its `name`, and keep it", ssh=ssh, path=path), stderr=True)
    return [device, *([] if devices == HOST else [load_device(name.strip()) for name in devices.split(",")])]
