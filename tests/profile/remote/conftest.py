import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from compress.config.devices import Device, load_device
from tests.profile.remote.eventually import eventually

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
"""
CLIENT_CONFIG = """
IdentityAgent none
GlobalKnownHostsFile /dev/null
UserKnownHostsFile {folder}/known_hosts
HashKnownHosts no
StrictHostKeyChecking no
UpdateHostKeys yes
CheckHostIP yes
"""
"""A careless user's configuration."""


class Server:
    """A real sshd of our own on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host_key", "user_key", "other_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        self.know("host_key")
        (folder / "client_config").write_text(CLIENT_CONFIG.format(folder=folder))
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client_config "$@"\n')
        (self.programs / "ssh").chmod(0o755)
        self.log = folder / "log"
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen([SSHD, "-D", "-f", folder / "config", "-E", self.log])
        self._wait()

    def know(self, name: str) -> None:
        """Write what the client believes of the server's key."""
        key = " ".join((self.folder / f"{name}.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def options(self, key: str = "user_key") -> tuple[str, ...]:
        return f"IdentityFile={self.folder / key}", "IdentitiesOnly=yes"

    def agents(self) -> list[psutil.Process]:
        """Python processes that this server started, directly or not."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "python" in process.name():
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def drop(self) -> None:
        """End all connections, as a cut cable does for one who waits long enough."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            if process.name().startswith("sshd"):
                process.kill()

    def connections(self) -> int:
        return self.log.read_text().count("Accepted publickey")

    def stop(self) -> None:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            process.kill()
        self.process.kill()
        self.process.wait()

    def _wait(self) -> None:
        for _ in range(100):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(self.log.read_text())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs a real SSH server and client: `apt install openssh-server openssh-client`")
    server = Server(tmp_path_factory.mktemp("sshd"))
    environment = pytest.MonkeyPatch()
    environment.setenv("PATH", str(server.programs), prepend=os.pathsep)
    try:
        options = [part for option in server.options() for part in ("-o", option)]
        tried = subprocess.run(
            ["ssh", "-o", "BatchMode=yes", "-p", str(server.port), *options, "127.0.0.1", "true"],
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode:
            pytest.skip(f"sshd does not let {getpass.getuser()!r} in, whose account may be locked: {tried.stderr.strip()}")
        yield server
    finally:
        environment.undo()
        server.stop()


@pytest.fixture
def device(server: Server, tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """Profiles of the loopback device, with other values in `connection`; nothing may be left in its working folder."""
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    server.know("host_key")

    def make(runtime: str = "onnxruntime", sensors: tuple[str, ...] = (), **connection: Any) -> Device:
        values = {"ssh": "127.0.0.1", "port": server.port, "python": sys.executable, "workdir": str(workdir)}
        values |= {"options": server.options(), "connect_timeout_s": 20}
        given = load_device("host").model_dump(exclude={"hardware", "peaks"})
        given["contract"]["sensors"] = sensors
        given |= {"name": "my_board", "title": "My board", "aliases": (), "runtime": runtime}
        return Device.model_validate(given | {"connection": values | connection})

    yield make
    assert eventually(lambda: not list(workdir.iterdir())), f"left behind: {list(workdir.rglob('*'))}"
    assert eventually(lambda: not server.agents()), "a process was left behind"


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes an executable script and gives its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write
