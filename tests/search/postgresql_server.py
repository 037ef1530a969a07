"""A PostgreSQL server of its own on a free port, for tests and measurements."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin")


def server_programs() -> Path | None:
    """Folder with initdb and pg_ctl, or None."""
    root = Path("/")
    found = [
        path.parent for folder in FOLDERS for path in root.glob(f"{folder[1:]}/initdb") if (path.parent / "pg_ctl").exists()
    ]
    return sorted(found)[-1] if found else None


@dataclass
class Server:
    """A server.

    Attributes:
        programs: Folder of its programs.
        data: Folder of its data.
        port: Port on 127.0.0.1.
        addresses: Further addresses on which it listens, each with the network that may connect.
    """

    programs: Path
    data: Path
    port: int
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """URL of the database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """Run a program; as the user `postgres` for root, whom the server refuses."""
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        listen = ",".join(("127.0.0.1", *self.addresses))
        options = f"-p {self.port} -c listen_addresses={listen} -c unix_socket_directories={self.data} -c fsync=on"
        self.run("pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self.data / "log"), "-w", "start")

    def stop(self) -> None:
        """Stop it at once, as a crash does."""
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")


@contextmanager
def running_server(addresses: Mapping[str, str] = MappingProxyType({})) -> Iterator[Server]:
    """A server with an empty database, removed after the block.

    Args:
        addresses: See `Server`.
    """
    programs = server_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="compress-postgresql-", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(programs, folder / "data", port, addresses)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server.run("initdb", "-D", str(server.data), "-U", "postgres", "-A", "trust", "-N")
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {network} trust\n" for network in addresses.values())
        server.start()
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
