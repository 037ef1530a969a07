"""How a device is reached over SSH: the fields of `connection: {ssh: host}` in a profile."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel

HOST = r"^[A-Za-z0-9_:\[][\w.@:%\[\]-]*$"
"""No blanks, no shell characters, and no dash in front: OpenSSH would take that for an option."""
ALLOWED = (
    "AddressFamily", "BindAddress", "BindInterface", "Ciphers", "Compression", "ConnectionAttempts", "GSSAPIAuthentication",
    "HostKeyAlgorithms", "HostKeyAlias", "HostName", "IdentitiesOnly", "IdentityFile", "IPQoS", "KexAlgorithms", "MACs",
    "PreferredAuthentications", "ProxyJump", "PubkeyAcceptedAlgorithms", "TCPKeepAlive", "User",
)  # fmt: skip
"""Options that a profile may set. None of them runs a program, writes a file or changes how host keys are checked, because a
profile may come from another person. Files of known hosts belong in `~/.ssh/config`."""
PLAIN = re.compile(r"[\w.@:,%/\[\]-]+", re.ASCII)
ROUTES = ("hostname", "proxyjump", "user", "hostkeyalias")
"""Of these, the ones whose value may end up in a command line of OpenSSH's own."""

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")]


class Ssh(FrozenModel):
    """Another machine, reached by OpenSSH's own client with the user's configuration, keys and jump hosts.

    Attributes:
        ssh: Host as one would give it to `ssh`: a name of `~/.ssh/config`, an address, or `user@host`.
        port: TCP port; None leaves it to the configuration.
        python: Python on the device, 3.10 or later, with numpy and onnxruntime: a name on its PATH or a path (`~/` allowed).
        trtexec: TensorRT's `trtexec` there; looked for in its usual places unless given.
        workdir: Folder there below which the temporary folder is made; the system's own unless given.
        architecture: What `uname -m` must say there; not checked unless given.
        timeout_s: Longest measurement, in seconds; building engines included.
        connect_timeout_s: Longest wait for the connection, in seconds.
        options: `Key=Value` as after `ssh -o`; what is not in `ALLOWED` belongs into `~/.ssh/config`.
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
                msg = f"{option!r} is no Key=Value that a profile may give (put others into ~/.ssh/config); {hint}"
                raise ValueError(msg)
            if key.lower() in ROUTES and not PLAIN.fullmatch(value):
                msg = f"{option!r}: only letters, digits and . @ : , % _ - / [ ] are allowed in {key}"
                raise ValueError(msg)
        return options
