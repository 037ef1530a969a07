import time

import numpy as np
import pytest

from compress.core.errors import DeviceError
from compress.profile.power import measure
from compress.profile.power.meter import above_idle
from compress.profile.power.sampler import PowerTrace
from tests.profile.power.fake_sensor import Fake


def working(sensor: Fake, watts: float = 9.0):
    def action():
        sensor.settle()
        sensor.watts = watts
        time.sleep(0.002)

    return action


@pytest.mark.parametrize("counts", [False, True])
def test_idle_comes_off_the_energy_and_is_told(counts):
    sensor = Fake(counts=counts)
    found = measure({"model": working(sensor)}, (sensor,), seconds=0.25)["model"]
    assert found["idle_w"].value == pytest.approx(4.0, rel=0.02)
    assert found["power_w"].value == pytest.approx(9.0, rel=0.05)
    energy = found["energy_j"]
    assert energy.value == pytest.approx(5.0 * 0.25 / energy.runs, rel=0.1)
    assert "per sample subtracted" in energy.detail
    assert "fake, a test bench" in energy.detail
    assert "200 times per second" in energy.detail
    for quantity in found.values():
        assert quantity.how == "measured"
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.runs >= 3
    assert not sensor.running


def test_energy_is_told_per_sample():
    for batch in (1, 4):
        sensor = Fake()
        energy = measure({"m": working(sensor)}, (sensor,), seconds=0.2, batch=batch)["m"]["energy_j"]
        assert energy.value * energy.runs * batch == pytest.approx(5.0 * 0.2, rel=0.2)


def test_energy_within_the_noise_of_idle_is_said():
    class Swinging(Fake):
        def read(self):
            super().read()
            return (4.0, 7.0, 5.0, 1.0, 6.0, 2.0, 3.0)[self.reads % 7]  # the mean is 4 in any long stretch

    sensor = Swinging()
    energy = measure({"m": lambda: time.sleep(0.002)}, (sensor,), seconds=0.25)["m"]["energy_j"]
    assert energy.low < 0 < energy.high
    assert "not distinguishable from idle" in energy.detail


def test_the_interval_holds_the_power_above_idle():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        idle = PowerTrace(Fake(), list(range(100)), list(generator.normal(4.0, 1.0, 100)))
        busy = PowerTrace(Fake(), list(range(100)), list(generator.normal(9.0, 2.0, 100)))
        above, low, high = above_idle(busy, idle)
        assert low <= above <= high
        held += low <= 5.0 <= high
    assert held / 200 >= 0.88


def test_every_sensor_tried_is_named_with_its_reason():
    zeros, silent = Fake(name="zeros", watts=0.0), Fake(name="silent", missing="is not there")
    actions = {"a": lambda: time.sleep(0.001), "b": lambda: None}
    found = measure(actions, (silent, zeros), seconds=0.05)
    assert list(found) == ["a", "b"]
    for card in found.values():
        assert set(card) == {"power_w", "idle_w", "energy_j"}
        assert {quantity.how for quantity in card.values()} == {"not measured"}
        assert "silent: is not there; zeros: it returned only zeros" in card["power_w"].detail
    assert "the device profile names no power sensor" in measure(actions, ())["a"]["energy_j"].detail


def test_the_next_sensor_is_taken_where_the_first_is_missing():
    broken, good = Fake(name="broken", fails_after=4), Fake(name="good")
    found = measure({"m": working(good)}, (broken, good), seconds=0.1)["m"]
    assert found["power_w"].how == "measured"
    assert "good" in found["power_w"].detail


def test_a_sensor_that_stops_on_the_way_is_no_measurement():
    sensor = Fake()

    def action():
        sensor.fails_after = sensor.fails_after or sensor.reads  # the next reading fails: the idle ones were good

    found = measure({"m": action}, (sensor,), seconds=0.12)["m"]
    assert {quantity.how for quantity in found.values()} == {"not measured"}
    assert "the cable came off" in found["energy_j"].detail
    assert "stopped after" in found["energy_j"].detail


def test_without_a_sensor_no_time_is_spent():
    calls = []
    measure({"m": lambda: calls.append(1)}, (Fake(missing="gone"),), seconds=60)
    assert calls == []


def test_a_slow_sensor_gets_the_time_that_it_needs():
    sensor = Fake(shortest_s=0.3)
    with_idle = measure({"m": working(sensor)}, (sensor,), seconds=0.01)["m"]
    assert "over 0.3 s" in with_idle["power_w"].detail


def test_the_sensor_is_freed_when_the_model_fails():
    sensor = Fake()

    def fail():
        raise DeviceError("out of memory")

    with pytest.raises(DeviceError, match="out of memory"):
        measure({"m": fail}, (sensor,), seconds=0.05)
    assert not sensor.running
