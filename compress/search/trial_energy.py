"""Energy of this machine while a trial runs, idle power included; other work on the machine counts, too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from compress.config.devices import host
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile import power
from compress.profile.power.sampler import PowerTrace, sampled
from compress.profile.settings import sensor_targets


class EnergyOfTrial:
    """Reads the first power sensor that works while a block runs."""

    def __init__(self) -> None:
        self._sensor, self._reason = power.first_available(power.open_sensors(sensor_targets(host())))
        self._trace: PowerTrace | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Callable[[], Quantity]:
        if self._sensor is not None:
            self._trace = self._stack.enter_context(sampled(self._sensor))
        return self.energy

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def energy(self) -> Quantity:
        """The energy so far, J, or why it was not measured."""
        if self._trace is None:
            return Quantity.missing("J", self._reason or gettext("the device profile names no power sensor"))
        if fault := self._trace.fault():
            return Quantity.missing("J", fault)
        joules = self._trace.mean() * self._trace.elapsed
        return Quantity.measured(joules, "J", gettext("{sensor}, idle power included", sensor=self._trace.sensor.measures()))
