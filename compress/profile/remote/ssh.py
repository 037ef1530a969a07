"""OpenSSH's client: the command that reaches a device, and the meaning of its failures."""

from __future__ import annotations

import shlex

from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.profile.remote.messages import Message

NO_PYTHON, NO_CONNECTION = 97, 255
"""Exit codes: of the line of shell below, and of ssh itself."""
UNAME = "compress-uname:"
SHELL = """echo "{mark}$(uname -sm)"; command -v {python} >/dev/null 2>&1 || exit {missing}; exec {python} -u -c {code}"""
START = (
    "import sys; sys.dont_write_bytecode = True; sys.path = [p for p in sys.path if p]; "
    "b = sys.stdin.buffer; exec(b.read(int(b.readline())))"
)
"""Runs the loader, which comes first on the standard input after its length; the working folder shadows no module."""
ALIVE_S, ALIVE_TIMES = 5, 4
"""A connection is closed after their product, in seconds, without an answer."""
CONNECTION_FAULTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        "its host key has changed since the last connection: another machine has this address, or the device was set up anew. "
        "Make sure which, then remove the old key with `ssh-keygen -R '{known}'`",
    ),
    (
        ("Host key verification failed", "No ED25519 host key is known", "host key is known for"),
        "its host key is not known yet: connect once by hand with `ssh {login}` and accept it",
    ),
    (("Could not resolve hostname",), "its name cannot be resolved: check `ssh: {host}` and the network"),
    (("Connection refused",), "it refused the connection: is sshd running there, on {port}?"),
    (
        ("timed out", "No route to host", "Network is unreachable", "Host is down"),
        "it did not answer within {wait} s: is it switched on, and is {host} on {port} the right address?",
    ),
    (
        ("Permission denied", "Too many authentication failures"),
        "authentication failed: `ssh -o BatchMode=yes {login}` must work without a question; put your key there with "
        "`ssh-copy-id {login}`",
    ),
    (
        ("Connection reset", "Connection closed", "kex_exchange_identification"),
        "it closed the connection before the login: is that an SSH server on {port}, and does it take more connections?",
    ),
)
"""Meaning of ssh's messages and the remedy, first match first."""
LOST = ("closed by", "not responding", "Broken pipe", "reset by peer", "client_loop", "Network is unreachable")
"""Messages of a lost connection; without them exit code 255 is that of a remote program killed by a signal."""
WRONG_BINARY = ("Exec format error", "cannot execute", "wrong ELF class", "invalid ELF header", "incompatible architecture")


def command(where: Ssh, remote: str) -> list[str]:
    """Arguments of `ssh` that run a line of POSIX shell on the device without interactive questions.

    Args:
        where: How to reach it.
        remote: The line; run by `sh`, whatever the login shell is.
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
        # host keys: those the user has accepted before, and nothing is written to any file of known hosts
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
    """Arguments of `ssh` that start the device's Python on what comes through the standard input."""
    python = path(where.python)
    return command(where, SHELL.format(mark=UNAME, python=python, missing=NO_PYTHON, code=shlex.quote(START)))


def path(text: str) -> str:
    """A path on the device, quoted for its shell; a leading `~/` is the home folder there."""
    return f'"$HOME"/{shlex.quote(text[2:])}' if text.startswith("~/") else shlex.quote(text)


def connection_fault(where: Ssh, stderr: str) -> str:
    """Why `ssh` could not connect, and the remedy; ssh's own message at the end."""
    words = " ".join(stderr.strip().splitlines()[-2:])[-300:]
    host = where.ssh.rpartition("@")[2]
    values = {
        "host": where.ssh,
        "login": f"-p {where.port} {where.ssh}" if where.port else where.ssh,
        "known": f"[{host}]:{where.port}" if where.port not in (None, 22) else host,
        "port": f"port {where.port}" if where.port else "the port that ssh takes by itself",
        "wait": where.connect_timeout_s,
    }
    meaning = next((text for marks, text in CONNECTION_FAULTS if any(mark in stderr for mark in marks)), "ssh failed")
    return f"{meaning.format(**values)} ({words or 'it gave no reason'})"


def start_fault(where: Ssh, code: int | None, uname: str, said: str) -> str:
    """Why the agent did not start although the connection did.

    Args:
        where: How the device was reached.
        code: Exit code of the line of shell; None when it is still running.
        uname: System and architecture of the device.
        said: Other output.
    """
    machine = f"it is {uname}" if uname else "it is no POSIX system, or its login shell prints nothing"
    words = " ".join(said.split())[-300:]
    if code == NO_PYTHON:
        return (
            f"there is no {where.python!r} ({machine}): install Python 3.10 or later there, or name it by "
            "`python: /path/of/python3` in the connection"
        )
    if any(mark in said for mark in WRONG_BINARY):
        return f"wrong architecture: {where.python!r} there is built for another machine; {machine} ({words})"
    if "has no attribute 'buffer'" in said:
        return f"{where.python!r} there is Python 2: name a Python 3.10 or later by `python:` in the connection; {machine}"
    how = "did not answer in time" if code is None else f"ended with {code} before the agent started"
    return f"{where.python!r} there {how}; {machine} ({words or 'it printed nothing'})"


def agent_fault(device: Device, where: Ssh, said: Message, uname: str) -> str:
    """Meaning of an `error` of the agent, and the remedy."""
    kind, text = said["error"], said["text"]
    python = where.python
    if kind == "no runtime" and any(mark in text for mark in WRONG_BINARY):
        return f"wrong architecture: ONNX Runtime there is built for another machine; it is {uname} ({text})"
    meanings = {
        "disk full": "its disk is full: {text}. Free some space, or name another folder by `workdir:` in the connection",
        "workdir": "its temporary folder cannot be made: {text}. Name a writable one by `workdir:` in the connection",
        "hash": "{text} did not arrive as it was sent (its SHA-256 differs there): a broken disk or connection; try again",
        "put": "a file cannot be written there: {text}",
        "python old": f"{python!r} there is Python {{text}}; 3.10 or later is needed: install one and name it by `python:`",
        "no runtime": f"the runtime is missing: {{text}}. Install it there: {python} -m pip install numpy onnxruntime",
        "no trtexec": "the runtime is missing: no trtexec there; {text}. Install it (package libnvinfer-bin, in JetPack), "
        "or name it by `trtexec:` in the connection",
        "refused": f"its runtime ({device.runtime}) refuses the model: {{text}}",
        "silence": "the agent there gave up: {text}",
        "failed": "{text}",
    }
    return meanings[kind].format(text=text)


def worker_crash(message: Message) -> str:
    """What a worker's end with another code than 0 means."""
    code, log = message["done"], " ".join(message["log"].split())[-500:]
    if code < 0:
        return f"the measuring process there was killed by signal {-code}, as happens when memory runs out ({log or 'no log'})"
    return f"the measuring process there failed with {code}: {log or 'no log'}"
