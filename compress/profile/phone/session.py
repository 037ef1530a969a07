"""Commands for `adb`, and messages for its failures.

with PhoneSession(device) as phone:
    path = phone.push(file, "0/model.onnx")
    text = phone.run(["/data/local/tmp/benchmark_model", f"--graph={path}"], timeout_s=60.0)
"""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple, Self

from compress.config.devices import Device
from compress.config.devices.adb_connection import ANY, FOLDER, Adb
from compress.core.errors import DeviceError
from compress.core.language import gettext

LIST_S, SHORT_S = 30.0, 30.0
"""Time limits of listing devices, which may start adb's server, and of short commands, s."""
LAST = 400
"""Longest part of a program's output that is shown."""
STATES: Mapping[str, str] = {
    "unauthorized": "it has not allowed this machine: unlock it and accept the question about USB debugging on its screen",
    "offline": "it is offline: plug it in again, or run `adb reconnect offline`",
    "no permissions": "this user may not open it: on Debian, `apt install android-sdk-platform-tools-common` adds a rule",
    "recovery": "it is in recovery mode: start Android",
    "sideload": "it is in recovery mode: start Android",
    "bootloader": "it is in its boot loader: start Android",
}
"""What each state of `adb devices` other than `device` means, and what to do."""
LOST = (
    "no devices/emulators found",
    "device offline",
    "device unauthorized",
    "device not found",
    "' not found",
    "error: closed",
)
"""Parts of adb's own messages when the device has gone."""
FULL = ("No space left on device", "ENOSPC")


class Reply(NamedTuple):
    """What a command printed.

    Attributes:
        code: Exit code.
        text: Standard output, then standard error.
    """

    code: int
    text: str


def adb_connection(device: Device) -> Adb:
    """The adb connection of a device profile.

    Raises:
        DeviceError: The profile has none.
    """
    if isinstance(device.connection, Adb):
        return device.connection
    msg = gettext(
        "{name} has no adb connection: its profile has `connection: {connection}`; give {{adb: SERIAL}}",
        name=device.name,
        connection=device.connection,
    )
    raise DeviceError(msg)


class PhoneSession:
    """One temporary folder on an Android device, and commands that run there.

    Args:
        device: Device profile with an adb connection.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.where = adb_connection(device)
        self.serial = ""
        self._folder = f"{FOLDER}/compress-{secrets.token_hex(6)}"
        self._folders: set[str] = set()

    def __enter__(self) -> Self:
        """Find the device.

        Raises:
            DeviceError: adb is not installed, or the device is not attached, offline, or has not allowed this machine.
        """
        self.serial = self._find()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Remove the temporary folder; on a device that has gone it stays, and its name is in the error."""
        if not self._folders:
            return
        try:
            self.shell(["rm", "-rf", self._folder])
        except DeviceError as failure:
            if error is None:
                raise
            error.add_note(gettext("{folder} remains on the device: {failure}", folder=self._folder, failure=failure))

    @property
    def name(self) -> str:
        """Name and serial number of the device, for messages."""
        return f"{self.device.name} ({self.serial or self.where.adb})"

    def shell(self, words: Sequence[str], *, timeout_s: float = SHORT_S) -> Reply:
        """Run a program on the device; every word is quoted for its shell.

        Raises:
            DeviceError: The device has gone, or the time limit is over.
        """
        return self._on_device(["shell", shlex.join(words)], timeout_s)

    def script(self, text: str) -> Reply:
        """Run a constant shell script of this package on the device.

        Raises:
            DeviceError: As for `shell`.
        """
        return self._on_device(["shell", text], SHORT_S)

    def run(self, words: Sequence[str], *, timeout_s: float) -> str:
        """Run a program on the device that must succeed; returns what it printed.

        Raises:
            DeviceError: It failed, with its last words; or as for `shell`.
        """
        reply = self.shell(words, timeout_s=timeout_s)
        if reply.code:
            program = next(PurePosixPath(word).name for word in words if "=" not in word and word != "env")
            msg = gettext(
                "{name}: {program} ended with {code}: {text}",
                name=self.name,
                program=program,
                code=reply.code,
                text=last_words(reply.text) or gettext("it printed nothing"),
            )
            raise DeviceError(msg)
        return reply.text

    def push(self, file: Path, place: str) -> str:
        """Copy a file to the temporary folder; returns its path on the device.

        Args:
            file: File on this machine.
            place: Path in the temporary folder.

        Raises:
            DeviceError: The storage of the device is full, the copy failed, or the device has gone.
        """
        target = f"{self._folder}/{place}"
        folder = str(PurePosixPath(target).parent)
        if folder not in self._folders:
            self._folders.add(folder)
            self._must(self.shell(["mkdir", "-p", folder]), folder)
        self._must(self._on_device(["push", str(file.resolve()), target], self.where.push_timeout_s), file.name)
        return target

    def _must(self, reply: Reply, what: str) -> None:
        """Raise what a copy or a new folder failed with."""
        if any(mark in reply.text for mark in FULL):
            msg = gettext(
                "{name}: its storage is full: {what} was not written ({text}). Free some space on the device",
                name=self.name,
                what=what,
                text=last_words(reply.text),
            )
            raise DeviceError(msg)
        if reply.code:
            msg = gettext("{name}: {what} was not written: {text}", name=self.name, what=what, text=last_words(reply.text))
            raise DeviceError(msg)

    def _on_device(self, arguments: Sequence[str], timeout_s: float) -> Reply:
        reply = self._adb(["-s", self.serial, *arguments], timeout_s)
        last = reply.text.strip().splitlines()[-1:] or [""]
        if reply.code and last[0].startswith(("error: ", "adb: ")) and any(mark in last[0] for mark in LOST):
            msg = gettext(
                "{name}: the connection was lost ({text}); see `adb devices`, then run the command again",
                name=self.name,
                text=last[0],
            )
            raise DeviceError(msg)
        return reply

    def _adb(self, arguments: Sequence[str], timeout_s: float) -> Reply:
        try:
            # a new process session: Ctrl-C must not reach adb, which is still needed to clean up
            ran = subprocess.run(  # noqa: S603
                ["adb", *arguments],  # noqa: S607  # the user's adb, as with ssh
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = gettext(
                "{name}: timeout: adb did not finish within {seconds:g} s; raise `timeout_s` in the connection, or look "
                "whether the device hangs",
                name=self.name,
                seconds=timeout_s,
            )
            raise DeviceError(msg) from error
        except OSError as error:
            msg = gettext(
                "adb does not start ({strerror}): install Android's platform tools, on Debian with `apt install adb`, on macOS "
                "with `brew install android-platform-tools`",
                strerror=error.strerror,
            )
            raise DeviceError(msg) from error
        return Reply(ran.returncode, (ran.stdout + ran.stderr).decode(errors="replace").replace("\r\n", "\n"))

    def _find(self) -> str:
        """Serial number of the device.

        Raises:
            DeviceError: It is not attached or not ready, or `any` has a choice.
        """
        reply = self._adb(["devices"], LIST_S)
        if reply.code:
            msg = gettext("`adb devices` ended with {code}: {text}", code=reply.code, text=last_words(reply.text))
            raise DeviceError(msg)
        states = attached(reply.text)
        if self.where.adb == ANY:
            return self._only(states)
        if self.where.adb not in states:
            msg = gettext(
                "{name}: no such device is attached; `adb devices` has {devices}",
                name=self.name,
                devices=_listed(states) or gettext("none: switch on USB debugging in the developer options, and plug it in"),
            )
            raise DeviceError(msg)
        return self._ready(self.where.adb, states[self.where.adb])

    def _only(self, states: Mapping[str, str]) -> str:
        if len(states) > 1:
            msg = gettext(
                "{name}: `adb: any` needs a single device, and several are attached: {devices}; give the serial number of one",
                name=self.device.name,
                devices=_listed(states),
            )
            raise DeviceError(msg)
        if not states:
            msg = gettext(
                "{name}: no device is attached: switch on USB debugging in the developer options of the phone, plug it in, and "
                "see `adb devices`",
                name=self.device.name,
            )
            raise DeviceError(msg)
        return self._ready(*next(iter(states.items())))

    def _ready(self, serial: str, state: str) -> str:
        if state == "device":
            return serial
        mark = next((mark for mark in STATES if state.startswith(mark)), "")
        why = gettext(STATES[mark]) if mark else gettext("its state is {state!r}: see `adb devices`", state=state)
        raise DeviceError(gettext("{name} ({serial}): {why}", name=self.device.name, serial=serial, why=why))


def attached(text: str) -> dict[str, str]:
    """State by serial number, from the output of `adb devices`."""
    lines = text.partition("List of devices attached")[2].splitlines()
    found = (re.match(r"(\S+)\s+(\S.*)", line) for line in lines if not line.startswith("*"))
    return {match[1]: match[2].strip() for match in found if match}


def last_words(text: str) -> str:
    """The end of a program's output, in one line."""
    return " ".join(text.split())[-LAST:]


def _listed(states: Mapping[str, str]) -> str:
    return ", ".join(f"{serial} ({state})" for serial, state in states.items())
