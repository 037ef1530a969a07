import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.profile.power.sampler import BLOCKS, FEWEST, PowerTrace, sampled
from tests.profile.power.fake_sensor import Fake


def test_mean_power_of_a_counter_is_the_energy_over_the_time():
    trace = PowerTrace(Fake(counts=True), seconds=[0.0, 1.0, 3.0, 4.0], values=[0.0, 2.0, 10.0, 12.0])
    assert trace.mean() == pytest.approx(3.0)
    assert trace.watts() == pytest.approx([2.0, 4.0, 2.0])
    assert trace.blocks() == pytest.approx([2.0, 4.0, 2.0])
    assert PowerTrace(Fake(), [0.0], [1.0]).fault().startswith("it returned 1 readings")


def test_a_sensor_that_cannot_start_is_a_trace_with_a_reason():
    class Stuck(Fake):
        def start(self):
            raise OSError("busy")

    with sampled(Stuck()) as trace:
        pass
    assert "busy" in trace.fault()


GAPS = st.lists(st.floats(0.001, 2.0), min_size=2, max_size=60)


@settings(max_examples=50)
@given(GAPS, st.randoms(use_true_random=False))
def test_block_means_of_a_counter_add_up_to_all_its_joules(gaps, random):
    """Reference: energy is conserved, whatever the gaps between readings."""
    seconds = np.cumsum([0.0, *gaps])
    joules = np.cumsum([0.0, *(random.uniform(0.0, 5.0) for _ in gaps)])
    trace = PowerTrace(Fake(counts=True), seconds.tolist(), joules.tolist())
    assert (trace.watts() * np.diff(seconds)).sum() == pytest.approx(joules[-1])
    assert trace.mean() * trace.elapsed == pytest.approx(joules[-1])
    blocks = trace.blocks()
    assert len(blocks) <= BLOCKS
    assert blocks.min() <= trace.mean() * (1 + 1e-9)
    assert blocks.max() >= trace.mean() * (1 - 1e-9)


@pytest.mark.parametrize("count", [3, 20, 100])
def test_blocks_of_powers_of_equal_length_have_the_mean_of_all(count):
    values = np.random.default_rng(count).uniform(1, 9, count)
    trace = PowerTrace(Fake(), list(range(count)), values.tolist())
    blocks = trace.blocks()
    assert len(blocks) == min(BLOCKS, count)
    assert blocks.mean() == pytest.approx(values.mean())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0] * (FEWEST - 1), "readings, at least 3 are needed"),
        ([0.0] * 5, "only zeros"),
        ([1.0, float("nan"), 1.0], "not finite numbers"),
        ([1.0] * FEWEST, None),
    ],
)
def test_readings_that_are_no_measurement_have_a_reason(values, reason):
    fault = PowerTrace(Fake(), list(range(len(values))), values).fault()
    assert (fault is None) if reason is None else (reason in fault)


def test_an_empty_trace_took_no_time():
    assert PowerTrace(Fake()).elapsed == 0.0


def test_a_sensor_is_read_from_before_the_block_to_its_end_and_then_stopped():
    sensor = Fake(rate_hz=100.0)
    start = time.perf_counter()
    with sampled(sensor) as trace:
        assert sensor.running
        assert len(trace.values) >= 1
        time.sleep(0.1)
    end = time.perf_counter()
    assert not sensor.running
    assert start <= trace.seconds[0] <= trace.seconds[-1] <= end
    assert trace.elapsed >= 0.1
    assert trace.seconds == sorted(trace.seconds)
    assert 2 <= len(trace.values) <= 0.1 * 100 * 5 + 3


def test_a_sensor_is_stopped_when_the_block_fails_and_no_thread_is_left():
    sensor, threads = Fake(), threading.active_count()
    with pytest.raises(RuntimeError), sampled(sensor):
        raise RuntimeError
    assert not sensor.running
    assert threading.active_count() == threads


def test_a_sensor_that_fails_ends_the_trace_and_not_the_block():
    sensor = Fake(rate_hz=500.0, fails_after=3)
    with sampled(sensor) as trace:
        time.sleep(0.05)
    assert len(trace.values) == 3
    assert "the cable came off" in trace.fault()
