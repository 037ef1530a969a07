"""Connection to a device over SSH: the fields of `connection: {ssh: host}` in a profile."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

HOST = r"^[A-Za-z0-9_:\[][\w.@:%\[\]-]*$"
"""Host names without blanks, shell characters and a leading dash, which OpenSSH would read as an option."""
ALLOWED = (
    "AddressFamily", "BindAddress", "BindInterface", "Ciphers", "Compression", "ConnectionAttempts", "GSSAPIAuthentication",
    "HostKeyAlgorithms", "HostKeyAlias", "HostName", "IdentitiesOnly", "IdentityFile", "IPQoS", "KexAlgorithms", "MACs",
    "PreferredAuthentications", "ProxyJump", "PubkeyAcceptedAlgorithms", "TCPKeepAlive", "User",
)  # fmt: skip
"""Allowed options of a profile. None of them runs a program, writes a file or changes the check of host keys, because a
profile may come from another person. Files of known hosts belong in `~/.ssh/config`."""
PLAIN = re.compile(r"[\w.@:,%/\[\]-]+", re.ASCII)
ROUTES = ("hostname", "proxyjump", "user", "hostkeyalias")
"""The allowed options whose values OpenSSH may use in a command line."""

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")]


class Ssh(FrozenModel):
    """Another machine, connected by the client of OpenSSH with the user's configuration, keys and jump hosts.

    Attributes:
        ssh: Host as for `ssh`: a name of `~/.ssh/config`, an address, or `user@host`.
        port: TCP port; None uses the configuration.
        python: Python on the device, 3.10 or later, with numpy and onnxruntime: a name on its PATH or a path (`~/` allowed).
        trtexec: Path of TensorRT's `trtexec` on the device; by default it is searched in the usual places.
        workdir: Folder for the temporary folder on the device; by default that of the system.
        architecture: Required output of `uname -m` on the device; by default not checked.
        timeout_s: Time limit of a measurement in seconds, including the build of engines.
        connect_timeout_s: Time limit of the connection, in seconds.
        options: `Key=Value` as after `ssh -o`; options that are not in `ALLOWED` belong in `~/.ssh/config`.
    """

    ssh: str = Field(pattern=HOST)
    port: int | None = Field(default=None, ge=1, le=65535)
    python: Word = "python3"
    trtexec: Word | None = None
    workdir: Word | None = None
    architecture: str | None = Field(default=None, pattern=r"^\w+$")
    timeout_s: float = Field(default=1800.0, gt=0.0, le=604800.0)
    connect_timeout_s: int = Field(default=10, ge=1, le=3600)
    options: tuple[Word, ...] = ()

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        known = {name.lower() for name in ALLOWED}
        for option in options:
            key, equals, value = option.partition("=")
            if not equals or key.lower() not in known:
                hint = nearest(key, ALLOWED)
                msg = gettext(
                    "{option!r} is not an allowed Key=Value of a profile (put other options into ~/.ssh/config); {hint}",
                    option=option,
                    hint=hint,
                )
                raise ValueError(msg)
            if key.lower() in ROUTES and not PLAIN.fullmatch(value):
                msg = gettext(
                    "{option!r}: only letters, digits and . @ : , % _ - / [ ] are allowed in {key}", option=option, key=key
                )
                raise ValueError(msg)
        return options
