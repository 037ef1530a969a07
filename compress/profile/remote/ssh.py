"""Commands for OpenSSH's client, and messages for its failures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.remote.messages import Message

NO_PYTHON, NO_CONNECTION = 97, 255
"""Exit codes: of the shell command below if there is no Python, and of ssh itself."""
UNAME = "compress-uname:"
SHELL = """echo "{mark}$(uname -sm)"; command -v {python} >/dev/null 2>&1 || exit {missing}; exec {python} -u -c {code}"""
START = (
    "import sys; sys.dont_write_bytecode = True; sys.path = [p for p in sys.path if p]; "
    "b = sys.stdin.buffer; exec(b.read(int(b.readline())))"
)
"""Runs `agent_bootstrap`, which comes first on the standard input, after its length. The working folder is taken off the path,
because its files could shadow modules."""
ALIVE_S, ALIVE_TIMES = 5, 4
"""ssh closes a connection after this many intervals of this many seconds without an answer."""
FAULT_MARKS: Mapping[str, tuple[str, ...]] = {
    "other key": ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
    "no key": ("Host key verification failed", "No ED25519 host key is known", "host key is known for"),
    "no name": ("Could not resolve hostname",),
    "refused": ("Connection refused",),
    "no answer": ("timed out", "No route to host", "Network is unreachable", "Host is down"),
    "no login": ("Permission denied", "Too many authentication failures"),
    "closed": ("Connection reset", "Connection closed", "kex_exchange_identification"),
}
"""Parts of ssh's messages, by fault; the first match counts."""
CONNECTION_FAULTS: Mapping[str, str] = {
    "other key": (
        "its host key has changed since the last connection: another machine has this address, or the device was reinstalled. "
        "Find out which; if it is the right machine, remove the old key with `ssh-keygen -R '{known}'`"
    ),
    "no key": "its host key is not known yet: connect once by hand with `ssh {login}` and accept it",
    "no name": "its name cannot be resolved: check `ssh: {host}` and the network",
    "refused": "it refused the connection: is sshd running there, on {port}?",
    "no answer": "it did not answer within {wait} s: is it switched on, and is {host} on {port} the right address?",
    "no login": (
        "authentication failed: `ssh -o BatchMode=yes {login}` must work without a question; put your key there with "
        "`ssh-copy-id {login}`"
    ),
    "closed": (
        "it closed the connection before the login: is that an SSH server on {port}, and does it take more connections?"
    ),
}
"""What each fault means, and what to do."""
LOST = ("closed by", "not responding", "Broken pipe", "reset by peer", "client_loop", "Network is unreachable")
"""Messages of a lost connection; without one of them, exit code 255 means that a signal killed the remote program."""
WRONG_BINARY = ("Exec format error", "cannot execute", "wrong ELF class", "invalid ELF header", "incompatible architecture")


def ssh_connection(device: Device) -> Ssh:
    """SSH connection of a device profile.

    Raises:
        DeviceError: The profile has none.
    """
    if isinstance(device.connection, Ssh):
        return device.connection
    msg = gettext(
        "{name} has no SSH connection: its profile has `connection: {connection}`; give {{ssh: HOST}}",
        name=device.name,
        connection=device.connection,
    )
    raise DeviceError(msg)


def command(where: Ssh, remote: str) -> list[str]:
    """Command line of `ssh` that runs a POSIX shell command on the device without interactive questions.

    Args:
        where: SSH connection.
        remote: Shell command; run by `sh`, whatever the login shell is.
    """
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": where.connect_timeout_s,
        "ServerAliveInterval": ALIVE_S,
        "ServerAliveCountMax": ALIVE_TIMES,
        "LogLevel": "INFO",
        "RequestTTY": "no",
        "RemoteCommand": "none",
        "PermitLocalCommand": "no",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ControlMaster": "no",
        # only host keys that the user has accepted before; no file of known hosts is changed
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
    }
    options = [f"{key}={value}" for key, value in settings.items()] + list(where.options)
    port = [] if where.port is None else ["-p", str(where.port)]
    return [
        "ssh",
        *port,
        *(part for option in options for part in ("-o", option)),
        "--",
        where.ssh,
        f"sh -c {shlex.quote(remote)}",
    ]


def start_agent(where: Ssh) -> list[str]:
    """Command line of `ssh` that starts the device's Python with the code on the standard input."""
    python = path(where.python)
    return command(where, SHELL.format(mark=UNAME, python=python, missing=NO_PYTHON, code=shlex.quote(START)))


def removal_command(where: Ssh, folder: str) -> list[str] | None:
    """Arguments of `ssh` that remove a temporary folder of an agent; None for any other path."""
    return command(where, f"rm -rf -- {shlex.quote(folder)}") if re.fullmatch(r"/.*/compress-\w+", folder) else None


def path(text: str) -> str:
    """A path on the device, quoted for its shell; a leading `~/` is the home folder on the device."""
    return f'"$HOME"/{shlex.quote(text[2:])}' if text.startswith("~/") else shlex.quote(text)


def connection_fault(where: Ssh, stderr: str) -> str:
    """Why `ssh` could not connect and what to do, with ssh's own message."""
    short = " ".join(stderr.strip().splitlines()[-2:])[-300:]
    host = where.ssh.rpartition("@")[2]
    values = {
        "host": where.ssh,
        "login": f"-p {where.port} {where.ssh}" if where.port else where.ssh,
        "known": f"[{host}]:{where.port}" if where.port not in (None, 22) else host,
        "port": gettext("port {port}", port=where.port) if where.port else gettext("the default port of ssh"),
        "wait": where.connect_timeout_s,
    }
    fault = next((name for name, marks in FAULT_MARKS.items() if any(mark in stderr for mark in marks)), "")
    meaning = gettext(CONNECTION_FAULTS[fault], **values) if fault else gettext("ssh failed")
    return gettext("{meaning} ({reason})", meaning=meaning, reason=short or gettext("it gave no reason"))


def start_fault(where: Ssh, code: int | None, uname: str, output: str) -> str:
    """Why the agent did not start although ssh connected.

    Args:
        where: SSH connection.
        code: Exit code of the shell command; None if it is still running.
        uname: System and architecture of the device.
        output: Other output of the device.
    """
    machine = (
        gettext("it is {uname}", uname=uname)
        if uname
        else gettext("it is not a POSIX system, or its login shell prints nothing")
    )
    short = " ".join(output.split())[-300:]
    if code == NO_PYTHON:
        return gettext(
            "there is no {python!r} ({machine}): install Python 3.10 or later on the device, or set "
            "`python: /path/of/python3` in the connection",
            python=where.python,
            machine=machine,
        )
    if any(mark in output for mark in WRONG_BINARY):
        return gettext(
            "wrong architecture: {python!r} on the device is built for another machine; {machine} ({short})",
            python=where.python,
            machine=machine,
            short=short,
        )
    if "has no attribute 'buffer'" in output:
        return gettext(
            "{python!r} on the device is Python 2: set `python:` in the connection to Python 3.10 or later; {machine}",
            python=where.python,
            machine=machine,
        )
    how = (
        gettext("did not answer in time") if code is None else gettext("ended with {code} before the agent started", code=code)
    )
    return gettext(
        "{python!r} on the device {how}; {machine} ({short})",
        python=where.python,
        how=how,
        machine=machine,
        short=short or "it printed nothing",
    )


def agent_fault(device: Device, where: Ssh, message: Message, uname: str) -> str:
    """Meaning of an `error` message of the agent, and what to do."""
    kind, text = message["error"], message["text"]
    python = where.python
    if kind == "no runtime" and any(mark in text for mark in WRONG_BINARY):
        return gettext(
            "wrong architecture: ONNX Runtime on the device is built for another machine; it is {uname} ({text})",
            uname=uname,
            text=text,
        )
    meanings = {
        "disk full": gettext(
            "its disk is full: {text}. Free some space, or set `workdir:` in the connection to another folder"
        ),
        "workdir": gettext(
            "its temporary folder cannot be created: {text}. Set `workdir:` in the connection to a writable folder"
        ),
        "hash": gettext(
            "{text} was received with another SHA-256 than it was sent with: a faulty disk or connection; try again"
        ),
        "put": gettext("a file cannot be written on the device: {text}"),
        "python old": gettext(
            "{python!r} on the device is Python {{text}}; install Python 3.10 or later and set `python:` to it", python=python
        ),
        "no runtime": gettext(
            "the runtime is missing: {{text}}. Install it on the device: {python} -m pip install numpy onnxruntime",
            python=python,
        ),
        "no package": gettext(
            "the runtime is missing: {{text}}. Install it on the device: {python} -m pip install {package}",
            python=python,
            package=message.get("package", ""),
        ),
        "no trtexec": gettext(
            "the runtime is missing: no trtexec on the device; {text}. Install it (package libnvinfer-bin, in "
            "JetPack), or set `trtexec:` in the connection to its path"
        ),
        "refused": gettext("its runtime ({runtime}) rejects the model: {{text}}", runtime=device.runtime),
        "silence": gettext("the agent on the device ended: {text}"),
        "failed": "{text}",
    }
    return meanings[kind].format(text=text)


def worker_crash(message: Message) -> str:
    """Meaning of a worker's exit code other than 0."""
    code, log = message["done"], " ".join(message["log"].split())[-500:]
    if code < 0:
        return gettext(
            "the worker on the device was killed by signal {value}, as happens when memory runs out ({log})",
            value=-code,
            log=log or "no log",
        )
    return gettext("the worker on the device failed with {code}: {log}", code=code, log=log or "no log")
