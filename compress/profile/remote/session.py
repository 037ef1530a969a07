"""Connection to a device: starts the agent, sends files, runs jobs, and removes everything at the end.

with RemoteSession(device) as remote:
    remote.put(path, "models/model.onnx")
    result = remote.work(order, advance=bar)
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import select
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from compress.config.devices import Device
from compress.core.atomic_files import sha256
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.remote import ssh
from compress.profile.remote.agent_bootstrap import MARK
from compress.profile.remote.agent_zip import agent, loader
from compress.profile.remote.messages import (
    AgentFacts,
    InspectionReport,
    InspectOrder,
    Measurements,
    Message,
    OnnxruntimeOrder,
    TrtexecOrder,
)

HEARTBEAT_S = 5.0
LEASE_S = 60.0
"""The agent removes itself when it receives nothing for this time."""
START_S = 30.0
"""Time for Python to start on the device, in addition to the time of the connection."""
CLOSE_S = 15.0
"""Time for the agent to remove its files and end."""
PUT_S = 600.0
"""Longest wait for the confirmation of a file."""
MEASURING = "measuring"
CHUNK = 1 << 18
LOG_LINES = 20


class RemoteSession:
    """Connection to the agent on a device.

    Args:
        device: Device profile with an SSH connection.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.where = ssh.ssh_connection(device)
        self._facts: AgentFacts | None = None
        self._inbox: queue.Queue[Message | None] = queue.Queue()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._uname = ""
        self._gone = False
        self._write_lock = threading.Lock()
        self._closing = threading.Event()
        self._worker_done = threading.Event()

    def __enter__(self) -> Self:
        """Connect and start the agent.

        Raises:
            DeviceError: The device cannot be reached, or the agent does not start.
        """
        self._stderr = tempfile.TemporaryFile()  # closed in `_end`
        try:
            # a new process session: Ctrl-C must not reach ssh, which is still needed to clean up
            self._process = subprocess.Popen(  # noqa: S603
                ssh.start_agent(self.where),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            self._stderr.close()
            msg = gettext(
                "OpenSSH's client does not start ({strerror}): install it, on Debian with `apt install openssh-client`",
                strerror=error.strerror,
            )
            raise DeviceError(msg) from error
        assert self._process.stdin is not None  # noqa: S101  for the type checker
        os.set_blocking(self._process.stdin.fileno(), False)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self._greet()
        except BaseException:
            self._end()
            raise
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Remove everything on the device and disconnect."""
        self._end()

    @property
    def facts(self) -> AgentFacts:
        """Description of the device by the agent."""
        if self._facts is None:
            msg = gettext("{name} is not connected: use the session in a with block", name=self.name)
            raise RuntimeError(msg)
        return self._facts

    @property
    def name(self) -> str:
        """Name of the device and host, for messages."""
        return f"{self.device.name} ({self.where.ssh})"

    def put(self, path: Path, name: str) -> None:
        """Copy a file to the device and compare its hash.

        Args:
            path: File on this machine.
            name: Path on the device, relative to the temporary folder.

        Raises:
            DeviceError: The device's disk is full, the hash differs, or the connection is lost.
        """
        size, digest = path.stat().st_size, sha256(path)
        with self._write_lock, path.open("rb") as file:
            self._write(_line(do="put", name=name, size=size, sha256=digest))
            while (chunk := file.read(CHUNK)) and self._write(chunk) and self._inbox.empty():
                pass  # a message before the last byte reports an error
        self._receive("put", time.monotonic() + PUT_S, gettext("receiving {name}", name=path.name))

    @overload
    def work(self, order: InspectOrder) -> InspectionReport: ...

    @overload
    def work(self, order: OnnxruntimeOrder | TrtexecOrder, *, advance: Callable[[float], None]) -> Measurements: ...

    def work(
        self, order: InspectOrder | OnnxruntimeOrder | TrtexecOrder, *, advance: Callable[[float], None] = lambda _: None
    ) -> InspectionReport | Measurements:
        """Run a job.

        Args:
            order: See `agent_worker`.
            advance: Called with the fraction done.

        Raises:
            DeviceError: The job failed or took longer than `timeout_s`, or the connection is lost.
        """
        self._worker_done.clear()
        with self._write_lock:
            self._write(_line(do="work", **order))
        deadline = time.monotonic() + self.where.timeout_s
        try:
            while True:
                message = self._receive(("progress", "result"), deadline, MEASURING)
                if "result" in message:
                    result = message["result"]
                    self._receive("done", deadline, MEASURING)
                    return result
                advance(message["progress"])
        except DeviceError:
            self._discard_messages()
            raise

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._listener.is_alive()

    def _discard_messages(self) -> None:
        """Wait for the end of a worker that failed, and discard its messages, so that another one can start."""
        self._worker_done.wait(CLOSE_S)
        while self.alive and not self._inbox.empty():
            self._inbox.get_nowait()

    def _greet(self) -> None:
        code, package = loader(), agent()
        header = {"size": len(package), "sha256": hashlib.sha256(package).hexdigest(), "workdir": self.where.workdir}
        deadline = time.monotonic() + (limit := self.where.connect_timeout_s + START_S)
        self._write(f"{len(code)}\n".encode() + code + _line(**header, lease_s=LEASE_S) + package, limit)
        facts = self._facts = self._receive("hello", deadline, "starting")["hello"]
        expected, actual = self.where.architecture, facts["architecture"]
        if expected is not None and expected != actual:
            msg = gettext(
                "{name}: wrong architecture: the profile says {expected}, the device says {actual} ({system})",
                name=self.name,
                expected=expected,
                actual=actual,
                system=facts["system"],
            )
            raise DeviceError(msg)

    def _receive(self, expected: str | tuple[str, ...], deadline: float, doing: str) -> Message:
        """The next message of the expected kinds.

        Raises:
            DeviceError: The agent reports an error, the stream ends, or the deadline passes.
        """
        kinds = (expected,) if isinstance(expected, str) else expected
        while True:
            try:
                message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise DeviceError(gettext("{name}: {late}", name=self.name, late=self._late(doing))) from None
            if message is None:
                raise DeviceError(gettext("{name}: {ended}", name=self.name, ended=self._ended(doing)))
            if "error" in message:
                raise DeviceError(
                    gettext(
                        "{name}: {agent_fault}",
                        name=self.name,
                        agent_fault=ssh.agent_fault(self.device, self.where, message, self._uname),
                    )
                )
            if "done" in message and "done" not in kinds:
                raise DeviceError(gettext("{name}: {worker_crash}", name=self.name, worker_crash=ssh.worker_crash(message)))
            if any(kind in message for kind in kinds):
                return message

    def _late(self, doing: str) -> str:
        if not self._uname:
            return gettext(
                "it did not answer within {connect_timeout_s:g} s after ssh was started",
                connect_timeout_s=self.where.connect_timeout_s + START_S,
            )
        if self._facts is None:
            return ssh.start_fault(self.where, None, self._uname, "\n".join(self._log))
        limit = (
            gettext("`timeout_s: {timeout_s:g}` in the connection", timeout_s=self.where.timeout_s)
            if doing == MEASURING
            else f"{PUT_S:g} s"
        )
        return gettext("timeout: it did not finish {doing} within {limit}", doing=doing, limit=limit)

    def _ended(self, doing: str) -> str:
        """Why the stream ended before the expected message."""
        code, errors = self._stop_ssh(wait=True), self._error_text()
        if self._uname == "" and code == ssh.NO_CONNECTION:
            return ssh.connection_fault(self.where, errors)
        if self._facts is None and code != ssh.NO_CONNECTION:
            return ssh.start_fault(self.where, code, self._uname, "\n".join([*self._log, errors]))
        note = f" ({short})" if (short := " ".join(errors.split())[-300:]) else ""
        if code != ssh.NO_CONNECTION or not any(mark in errors for mark in ssh.LOST):
            return gettext(
                "the agent on the device was killed or crashed with {code} while {doing}{note}; run the command again",
                code=code,
                doing=doing,
                note=note,
            )
        return gettext(
            "the connection was lost while {doing}{note}; the agent removes its files by itself. Run the command again",
            doing=doing,
            note=note,
        )

    def _listen(self) -> None:
        assert isinstance(self._process.stdout, io.FileIO)  # noqa: S101  unbuffered
        try:
            with io.BufferedReader(self._process.stdout) as lines:
                for raw in lines:
                    self._hear("".join(filter(str.isprintable, raw.decode(errors="replace"))))
        finally:
            self._inbox.put(None)
            self._worker_done.set()

    def _hear(self, line: str) -> None:
        if line.startswith(MARK):
            message: Message = json.loads(line[len(MARK) :])
            self._gone = self._gone or bool(message.get("gone"))
            self._inbox.put(message)
            if "done" in message:
                self._worker_done.set()
        elif line.startswith(ssh.UNAME):
            self._uname = line[len(ssh.UNAME) :] or "unknown"
        else:
            self._log.append(line)

    def _beat(self) -> None:
        """Send the agent a message every `HEARTBEAT_S`."""
        while not self._closing.wait(HEARTBEAT_S):
            with self._write_lock:
                self._write(_line(do="ping"), HEARTBEAT_S)

    def _write(self, data: bytes, seconds: float = PUT_S) -> bool:
        """Send data; False if ssh has ended or accepts nothing for this time. `_receive` then raises the reason."""
        assert self._process.stdin is not None  # noqa: S101  for the type checker
        poll, remaining = select.poll(), memoryview(data)
        try:
            poll.register(self._process.stdin, select.POLLOUT)
            while remaining:
                if not poll.poll(seconds * 1000):
                    return False
                remaining = remaining[self._process.stdin.write(remaining) or 0 :]
        except (OSError, ValueError):
            return False
        return True

    def _end(self) -> None:
        """Close the connection and wait for the agent to remove the folder; remove it from here if the agent did not."""
        self._closing.set()
        folder = "" if self._facts is None else self._facts["folder"]
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None  # noqa: S101  for the type checker
            self._process.stdin.close()
        self._stop_ssh(wait=bool(folder) and not self._gone)
        self._listener.join(CLOSE_S)
        self._stderr.close()
        if folder and not self._gone:
            self._remove(folder)

    def _stop_ssh(self, *, wait: bool) -> int:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=CLOSE_S if wait else 2.0)
        self._process.kill()
        return self._process.wait()

    def _remove(self, folder: str) -> None:
        """Remove the folder through a new connection; if that fails, the agent removes it at the end of its lease."""
        command, limit_s = ssh.removal_command(self.where, folder), self.where.connect_timeout_s + CLOSE_S
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            if command is not None:
                subprocess.run(  # noqa: S603
                    command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, start_new_session=True, check=False
                )

    def _error_text(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"
