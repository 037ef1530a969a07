"""A sensor under the control of a test."""

import time
from dataclasses import dataclass, field

from compress.core.errors import DeviceError


@dataclass
class Fake:
    """A sensor under the test's control: `watts` now, or joules counted from them."""

    name: str = "fake"
    counts: bool = False
    rate_hz: float = 200.0
    shortest_s: float = 0.0
    watts: float = 4.0
    missing: str | None = None
    fails_after: int | None = None
    reads: int = 0
    running: bool = False
    joules: float = 0.0
    last: float = field(default_factory=time.perf_counter)

    def available(self):
        return self.missing

    def measures(self):
        return "a test bench"

    def start(self):
        self.running = True

    def read(self):
        assert self.running
        self.reads += 1
        if self.fails_after is not None and self.reads > self.fails_after:
            raise DeviceError("the cable came off")
        self.settle()
        return self.joules if self.counts else self.watts

    def settle(self):
        now = time.perf_counter()
        self.joules += self.watts * (now - self.last)
        self.last = now

    def stop(self):
        self.running = False
