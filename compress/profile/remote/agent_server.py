"""Server of the agent on the device: receives files and orders on its standard input and removes everything at the end.

A worker measures in a separate process, so that the server can report a crash of the runtime or a lack of memory, and clean up.
The server ends with its input, by a signal, or when it receives nothing for the time of the lease: the connection is broken.

Orders, one JSON per line: `{"do": "put", "name", "size", "sha256"}` and that many bytes; `{"do": "work", …}` for the worker;
`{"do": "ping"}`. Answers: those of `agent_worker`, and `hello`, `put`, `error`, `done`, `gone`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.language import gettext
from compress.profile.remote.agent_bootstrap import FULL, MARK
from compress.profile.remote.agent_sensors import cpu_name

if TYPE_CHECKING:
    from compress.profile.remote.messages import AgentFacts, PutOrder

CHUNK = 1 << 16
LOG_LINES = 30
CHECKS = 8
"""Checks per lease for received data."""


def main() -> None:
    """Serve until the standard input ends: `agent.pyz serve FOLDER LEASE`."""
    folder, lease_s = sys.argv[1:]
    stream = sys.stdin.buffer  # the loader has read from it: it may hold the first order already
    assert isinstance(stream, BufferedReader)  # noqa: S101  for the type checker
    AgentServer(folder, stream, lease_s=float(lease_s)).serve()


class AgentServer:
    """Handles orders and owns the temporary folder.

    Args:
        folder: Temporary folder with the agent's zip file.
        stream: Input with the orders.
        lease_s: The server ends when it receives nothing for this time, in seconds.
    """

    def __init__(self, folder: str, stream: BufferedReader, *, lease_s: float) -> None:
        self.folder = Path(folder)
        self.stream = stream
        self.lease_s = lease_s
        self._received = 0
        self._worker: subprocess.Popen[bytes] | None = None
        self._write_lock = threading.Lock()
        self._shutdown_lock = threading.Lock()

    def serve(self) -> None:
        """Handle orders until the input ends."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(1))
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._say(hello=self._facts())
            while (line := self.stream.readline()).endswith(b"\n"):
                self._received += 1
                order = json.loads(line)
                if order["do"] == "put":
                    self._put(order)
                elif order["do"] == "work":
                    self._work(order)
        finally:
            self._shut_down()

    def _put(self, order: PutOrder) -> None:
        """Receive a file. After an error its other bytes are still read, because the next order follows them."""
        path, remaining = self.folder / order["name"], order["size"]
        fault: OSError | None = None
        file: FileIO | None = None
        try:
            file = self._open(path)
        except OSError as error:
            fault = self._report_fault(order["name"], error)
        while remaining and (chunk := self.stream.read1(min(CHUNK, remaining))):
            remaining -= len(chunk)
            self._received += 1
            try:
                while chunk and file is not None and fault is None:
                    chunk = chunk[file.write(chunk) :]
            except OSError as error:
                fault = self._report_fault(order["name"], error)
        if file is not None:
            file.close()
        if remaining or fault is not None:
            return
        if _sha256(path) == order["sha256"]:
            self._say(put=order["name"])
        else:
            self._say(error="hash", text=order["name"])

    def _open(self, path: Path) -> FileIO:
        """Open a new file without buffer, so that `write` reports errors at once."""
        if self.folder not in Path(os.path.normpath(path)).parents:
            msg = gettext("{path} is outside the folder {folder}", path=path, folder=self.folder)
            raise PermissionError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb", buffering=0)

    def _report_fault(self, what: str, fault: OSError) -> OSError:
        free = shutil.disk_usage(self.folder).free
        kind = "disk full" if fault.errno in FULL else "put"
        self._say(error=kind, text=f"{what}: {fault.strerror or fault}; {free / 1e6:.1f} MB free in {self.folder.parent}")
        return fault

    def _work(self, order: Mapping[str, object]) -> None:
        """Start the worker. Its standard input stays open: its end tells the worker that the server has died."""
        variables = {"TMPDIR": str(self.folder), "CUDA_CACHE_PATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-u", str(self.folder / "agent.pyz"), "work"]
        try:
            with (self.folder / "worker.log").open("wb") as log:
                self._worker = worker = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self.folder,
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
        except OSError as error:
            self._report_fault("the worker", error)
            return
        assert worker.stdin is not None  # noqa: S101  for the type checker
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(json.dumps(order).encode() + b"\n")
            worker.stdin.flush()
        threading.Thread(target=self._forward, args=(worker,), daemon=True).start()

    def _forward(self, worker: subprocess.Popen[bytes]) -> None:
        """Forward the worker's messages; at its end, report its exit code and the last lines of its other output."""
        log: deque[str] = deque(maxlen=LOG_LINES)
        assert worker.stdout is not None  # noqa: S101  for the type checker
        for line in worker.stdout:
            if line.startswith(MARK.encode()):
                self._write(line)
            else:
                log.append(line.decode(errors="replace").rstrip())
        code = worker.wait()
        with contextlib.suppress(OSError):
            log.extend((self.folder / "worker.log").read_text(errors="replace").splitlines()[-LOG_LINES:])
        self._say(done=code, log="\n".join(log))

    def _watch(self) -> None:
        """Shut down after a lease without data. Checks are counted, not time, because the device may be suspended meanwhile."""
        silent_checks = 0
        while silent_checks < CHECKS:
            received = self._received
            time.sleep(self.lease_s / CHECKS)
            silent_checks = silent_checks + 1 if self._received == received else 0
        self._say(error="silence", text=f"it received nothing for {self.lease_s:g} s")
        self._shut_down()
        os._exit(1)

    def _shut_down(self) -> None:
        """Kill the worker, remove the folder, and report whether the folder is gone."""
        with self._shutdown_lock:
            if (worker := self._worker) is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
            for _ in range(3):
                shutil.rmtree(self.folder, ignore_errors=True)
                if not self.folder.exists():
                    break
                time.sleep(0.1)
            self._say(gone=not self.folder.exists())

    def _facts(self) -> AgentFacts:
        system = os.uname()
        return {
            "folder": str(self.folder),
            "architecture": system.machine,
            "system": f"{system.sysname} {system.release}",
            "python": sys.version.split()[0],
            "cpu": cpu_name(),
            "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            "free_bytes": shutil.disk_usage(self.folder).free,
        }

    def _say(self, **message: object) -> None:
        self._write(f"{MARK}{json.dumps(message)}\n".encode())

    def _write(self, line: bytes) -> None:
        with self._write_lock, contextlib.suppress(OSError, ValueError):  # after a broken connection the input ends as well
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
