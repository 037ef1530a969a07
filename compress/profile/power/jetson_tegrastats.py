"""Power of a Jetson from the output of `tegrastats`, for users without permission to read the monitors.

… VDD_IN 4568mW/4571mW VDD_CPU_GPU_CV 481mW/481mW VDD_SOC 1443mW/1440mW …     present/mean, release 35 and later
… POM_5V_IN 2340/2341 POM_5V_GPU 80/82 …                                       present/mean, earlier releases
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field

from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.power.jetson_ina3221 import board_rails, describe_rails

INTERVAL_MS = 100
PATIENCE_S = 5.0
RAIL = re.compile(r"\b((?:VDD|VIN|POM|5V)_?\w*|GPU|CPU|SOC|CV|SYS5V) (\d+)(?:mW)?/\d+(?:mW)?(?=\s|$)")


@dataclass
class Tegrastats:
    """Runs `tegrastats` in the background and reads its latest line.

    Attributes:
        command: Name or path of the tool.
    """

    command: str = "tegrastats"
    name: str = "tegrastats"
    counts: bool = False
    rate_hz: float = 1000 / INTERVAL_MS
    shortest_s: float = 2.0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _latest: dict[str, float] = field(default_factory=dict, repr=False)
    _first_line: threading.Event = field(default_factory=threading.Event, repr=False)

    def available(self) -> str | None:
        """None if the tool runs and prints the rails of the board."""
        if shutil.which(self.command) is None:
            return gettext("`{command}` is not on PATH (it is part of Jetson Linux)", command=self.command)
        try:
            self.start()
            watts = self.read()
        except (DeviceError, OSError) as error:
            return str(error)
        finally:
            self.stop()
        return None if watts > 0 else gettext("it prints 0 W")

    def measures(self) -> str:
        """Names of the rails."""
        return describe_rails(board_rails(self._latest))

    def start(self) -> None:
        """Start the tool and wait for its first line.

        Raises:
            DeviceError: The tool prints nothing, or no rail that supplies the whole board.
        """
        self._latest, self._first_line = {}, threading.Event()
        self._process = subprocess.Popen(  # noqa: S603
            [shutil.which(self.command) or self.command, "--interval", str(INTERVAL_MS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self._follow, args=(self._process, self._first_line), daemon=True).start()
        if not self._first_line.wait(PATIENCE_S) or not self._latest:
            self.stop()
            msg = gettext("it printed no rails within {patience_s:g} s", patience_s=PATIENCE_S)
            raise DeviceError(msg)
        if not board_rails(self._latest):
            self.stop()
            msg = gettext(
                "it prints the rails {latest}, none of which supplies the whole board", latest=", ".join(self._latest)
            )
            raise DeviceError(msg)

    def read(self) -> float:
        """Power of the latest line, W.

        Raises:
            DeviceError: The tool has ended.
        """
        if self._process is None or self._process.poll() is not None:
            msg = gettext("it ended with {code}", code=None if self._process is None else self._process.returncode)
            raise DeviceError(msg)
        return sum(self._latest[name] for name in board_rails(self._latest))

    def stop(self) -> None:
        """End the tool."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _follow(self, process: subprocess.Popen[str], first_line: threading.Event) -> None:
        assert process.stdout is not None  # noqa: S101  for the type checker
        with process.stdout as lines:
            for line in lines:
                if watts := parse(line):
                    self._latest = watts
                    first_line.set()
        first_line.set()


def parse(line: str) -> dict[str, float]:
    """Power of each rail in a line of `tegrastats`, W."""
    return {name: int(milliwatts) * 1e-3 for name, milliwatts in RAIL.findall(line)}
