"""The agent's long-lived half, on the device: receives files and orders on its standard input, removes everything at the end.

It measures nothing itself: a worker does, in a process of its own, so that after a crash of the runtime or a
lack of memory the server can report it and clean up. It ends with its input, with a signal, or when nothing arrived for the
length of the lease: a connection that was cut without notice.

Orders, one JSON a line: `{"do": "put", "name", "size", "sha256"}` and that many bytes; `{"do": "work", …}` for the worker;
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

from compress.profile.remote.agent_bootstrap import FULL, MARK
from compress.profile.remote.agent_sensors import cpu_name

if TYPE_CHECKING:
    from compress.profile.remote.messages import AgentFacts, PutOrder

CHUNK = 1 << 16
LOG_LINES = 30
NAPS = 8


def main() -> None:
    """Serve until the standard input ends: `agent.pyz serve FOLDER LEASE`."""
    folder, lease_s = sys.argv[1:]
    stream = sys.stdin.buffer  # the loader has read from it: it may hold the first order already
    assert isinstance(stream, BufferedReader)  # noqa: S101  for the type checker
    AgentServer(folder, stream, lease_s=float(lease_s)).serve()


class AgentServer:
    """Owner of the temporary folder.

    Args:
        folder: The temporary folder; holds the agent's zip file.
        stream: Orders.
        lease_s: Longest silence, in seconds.
    """

    def __init__(self, folder: str, stream: BufferedReader, *, lease_s: float) -> None:
        self.folder = Path(folder)
        self.stream = stream
        self.lease_s = lease_s
        self._heard = 0
        self._worker: subprocess.Popen[bytes] | None = None
        self._speaking = threading.Lock()
        self._leaving = threading.Lock()

    def serve(self) -> None:
        """Handle orders until the input ends."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(1))
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._say(hello=self._facts())
            while (line := self.stream.readline()).endswith(b"\n"):
                self._heard += 1
                order = json.loads(line)
                if order["do"] == "put":
                    self._put(order)
                elif order["do"] == "work":
                    self._work(order)
        finally:
            self._shut_down()

    def _put(self, order: PutOrder) -> None:
        """Receive a file; after a fault its bytes are still read, because the next order follows them."""
        path, left = self.folder / order["name"], order["size"]
        fault: OSError | None = None
        file: FileIO | None = None
        try:
            file = self._open(path)
        except OSError as error:
            fault = self._report_fault(order["name"], error)
        while left and (chunk := self.stream.read1(min(CHUNK, left))):
            left -= len(chunk)
            self._heard += 1
            try:
                while chunk and file is not None and fault is None:
                    chunk = chunk[file.write(chunk) :]
            except OSError as error:
                fault = self._report_fault(order["name"], error)
        if file is not None:
            file.close()
        if left or fault is not None:
            return
        if _sha256(path) == order["sha256"]:
            self._say(put=order["name"])
        else:
            self._say(error="hash", text=order["name"])

    def _open(self, path: Path) -> FileIO:
        """A new file, unbuffered: `write` reports what cannot be written."""
        if self.folder not in Path(os.path.normpath(path)).parents:
            msg = f"{path} lies outside the folder"
            raise PermissionError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb", buffering=0)

    def _report_fault(self, what: str, fault: OSError) -> OSError:
        free = shutil.disk_usage(self.folder).free
        kind = "disk full" if fault.errno in FULL else "put"
        self._say(error=kind, text=f"{what}: {fault.strerror or fault}; {free / 1e6:.1f} MB free in {self.folder.parent}")
        return fault

    def _work(self, order: Mapping[str, object]) -> None:
        """Start the worker; its standard input stays open as its lifeline, and whatever it writes goes to the folder."""
        own = {"TMPDIR": str(self.folder), "CUDA_CACHE_PATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-u", str(self.folder / "agent.pyz"), "work"]
        try:
            with (self.folder / "worker.log").open("wb") as log:
                self._worker = worker = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self.folder,
                    env={**os.environ, **own},
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
        """Forward the worker's messages, and its end with the last lines of its other output."""
        rest: deque[str] = deque(maxlen=LOG_LINES)
        assert worker.stdout is not None  # noqa: S101  for the type checker
        for line in worker.stdout:
            if line.startswith(MARK.encode()):
                self._write(line)
            else:
                rest.append(line.decode(errors="replace").rstrip())
        code = worker.wait()
        with contextlib.suppress(OSError):
            rest.extend((self.folder / "worker.log").read_text(errors="replace").splitlines()[-LOG_LINES:])
        self._say(done=code, log="\n".join(rest))

    def _watch(self) -> None:
        """End everything when the other side is silent; counted in naps, so that a suspended device does not count."""
        silent = 0
        while silent < NAPS:
            heard = self._heard
            time.sleep(self.lease_s / NAPS)
            silent = silent + 1 if self._heard == heard else 0
        self._say(error="silence", text=f"it received nothing for {self.lease_s:g} s")
        self._shut_down()
        os._exit(1)

    def _shut_down(self) -> None:
        """Kill the worker and remove the folder; report whether it is gone."""
        with self._leaving:
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
        with self._speaking, contextlib.suppress(OSError, ValueError):  # nobody listens any more: the input ends as well
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
