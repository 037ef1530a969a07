"""Ctrl-C and SIGTERM: the command ends within seconds and removes its temporary files."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from compress.core.language import gettext

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
REPEAT = b"\0"
"""Request to the watching thread to send the first signal again; it is no signal number."""
REPEAT_AFTER_S = 0.01
"""Time, s, for the hook of dropped exceptions to return."""
GRACE_S = 3.0
"""Time, s, for an orderly end. While a library computes in a long call, no Python code runs."""
CHECK_EVERY_S = 0.5
"""Interval, s, at which the watching thread checks that the main thread is still ending."""


class Interruption:
    """State of the signals of a command.

    Attributes:
        signal: The first signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._temporary: str | None = None
        self._is_lost = self._is_leaving = False
        self._repeated = 0
        self._report_unraisable = sys.unraisablehook
        self._ended = threading.Event()
        self._waking, self._watched = socket.socketpair()

    def raise_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handler: raise `KeyboardInterrupt` once, so that files are closed and removed."""
        if self._is_leaving:
            return
        if _is_inside(frame, Interruption._repeat_lost):  # Python would drop an exception here, too
            self._ask_again()
            return
        if self.signal is None or self._is_lost:
            self.signal, self._is_lost = self.signal or number, False
            raise KeyboardInterrupt

    def _repeat_lost(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Send the signal again if its exception was raised in a finalizer, where Python drops exceptions."""
        if self.signal is None or unraisable.exc_type is not KeyboardInterrupt:
            self._report_unraisable(unraisable)
            return
        self._is_lost = True
        self._ask_again()

    def _ask_again(self) -> None:
        with suppress(OSError):
            self._waking.send(REPEAT)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals and keep temporary files in one folder while the block runs."""
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._waking.setblocking(False)
        earlier = signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self.raise_interrupt)
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        before = os.environ.get("TMPDIR")
        self._report_unraisable, sys.unraisablehook = sys.unraisablehook, self._repeat_lost
        try:
            with suppress(OSError):  # a command that needs a folder for temporary files reports that there is none
                self._temporary = tempfile.mkdtemp(prefix="compress-")
                tempfile.tempdir = os.environ["TMPDIR"] = self._temporary
            yield
        finally:
            self._is_leaving = True  # a signal from here on would leave the folder undeleted
            signal.set_wakeup_fd(earlier)
            sys.unraisablehook = self._report_unraisable
            self._ended.set()
            self._waking.close()
            watcher.join()
            self._watched.close()
            if self._temporary is not None:
                tempfile.tempdir = None
                os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
            self._remove_temporary()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _watch(self) -> None:
        """End the process if it does not end in time, or at the second signal."""
        number = self._next_signal()
        if number is None:
            return
        if self._has_ended_in_time():
            return
        if self._ended.is_set():
            return
        self._remove_temporary()
        _kill_children()
        words = gettext("interrupted; run the same command again: what is finished is kept")
        print(f"\n{words}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    def _has_ended_in_time(self) -> bool:
        """Wait for the end; False at the second signal, or when the time is over.

        Code of a library may discard the exception of the signal without a report: Python's C functions for dictionaries and
        attributes clear every exception. The signal is sent again when the main thread is no longer handling it.
        """
        deadline = time.monotonic() + GRACE_S
        while (remaining_s := deadline - time.monotonic()) > 0:
            try:
                return self._next_signal(min(CHECK_EVERY_S, remaining_s)) is None
            except TimeoutError:
                if self.signal is not None and not _is_handling_interrupt(threading.main_thread()):
                    self._is_lost = True
                    self._send_again()
        return False

    def _send_again(self) -> None:
        self._repeated += 1
        signal.pthread_kill(threading.main_thread().ident or 0, self.signal or signal.SIGINT)

    def _next_signal(self, timeout_s: float = math.inf) -> int | None:
        """The next signal, which the handler of Python writes to the socket even while a library computes; None at the end.

        Raises:
            TimeoutError: No signal arrived in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            remaining_s = max(deadline - time.monotonic(), 0.001)
            self._watched.settimeout(None if math.isinf(remaining_s) else remaining_s)
            received = self._watched.recv(1)
            if not received:
                return None
            if received == REPEAT and self.signal is not None:
                time.sleep(REPEAT_AFTER_S)
                self._send_again()
            elif received[0] in SIGNALS and self._repeated:
                self._repeated -= 1
            elif received[0] in SIGNALS:
                return received[0]

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _is_inside(frame: FrameType | None, function: Callable[..., object]) -> bool:
    """Whether a function is in the call stack of a frame."""
    while frame is not None:
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False


def _is_handling_interrupt(thread: threading.Thread) -> bool:
    """Whether a thread runs an `except` or `finally` block, or leaves a `with` block, because of a `KeyboardInterrupt`."""
    current: object = sys._current_exceptions().get(thread.ident or 0)
    error = current[1] if isinstance(current, tuple) else current  # Python 3.11 has triples of type, exception and traceback
    while isinstance(error, BaseException):
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _kill_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
